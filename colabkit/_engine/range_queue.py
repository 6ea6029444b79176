"""Which bytes of a file are still to come, and which connection fetches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colabkit._engine.partial_file import PartialFile

SMALLEST = 1 << 20
LARGEST = 32 << 20
"""Bounds of a piece: large enough that asking costs little, small enough that the last ones end together."""


@dataclass(eq=False)
class ByteRange:
    """The bytes from `at` up to, not including, `stop`; `at` moves on as they arrive."""

    at: int
    stop: int


class RangeQueue:
    """Hands out the missing bytes: each waits here, belongs to one connection, or lies before the lead's stop.

    The lead is a first answer that holds the rest of the file. Where the others cannot have pieces of it, it goes on
    alone; what they have brought by then it brings again. All methods are called under the lock of the pool.

    Args:
        part: Tells what is missing.
        first: The bytes of the first answer.
        leads: That answer is the lead.

    Attributes:
        generation: That of the part; bytes of these ranges are written under it.
        lead: What the lead still brings; None once it has ended.
        had_lead: There was one.
        lead_alone: It brings all, and nothing is handed out.
    """

    def __init__(self, part: PartialFile, first: ByteRange, *, leads: bool) -> None:
        self.generation = part.generation
        self._part = part
        self._waiting = _without(part.missing(), (first.at, first.stop))
        self._under_way = {first}
        self._end = first.stop
        self.lead = first if leads else None
        self.had_lead = leads
        self.lead_alone = False

    def take(self, connections: int) -> ByteRange | None:
        """Cut the next piece: a fair share of what is left, so that slow and fast connections end together.

        Args:
            connections: How many there will soon be.
        """
        lead = self.lead
        if self.lead_alone or not (self._waiting or lead):
            return None
        left = sum(stop - start for start, stop in self._waiting) + (lead.stop - lead.at if lead else 0)
        share = min(LARGEST, max(SMALLEST, left // (2 * connections) // SMALLEST * SMALLEST))
        if not self._waiting:
            if lead is None or lead.stop - lead.at < share + 2 * SMALLEST:
                return None
            stop, lead.stop = lead.stop, (lead.stop - share) // SMALLEST * SMALLEST
            piece = ByteRange(lead.stop, stop)
        else:
            start, stop = self._waiting.pop(0)
            if stop - start > share + SMALLEST // 2:
                self._waiting.insert(0, (start + share, stop))
                stop = start + share
            piece = ByteRange(start, stop)
        self._under_way.add(piece)
        return piece

    def give_back(self, piece: ByteRange) -> None:
        """End the work on a piece; what is missing of it waits again."""
        self._under_way.discard(piece)
        if piece is self.lead:
            # Alone it passed over what helpers had brought: what is still missing is looked up.
            self.lead, self.lead_alone = None, False
            self._waiting = self._part.missing()
            for other in self._under_way:
                self._waiting = _without(self._waiting, (other.at, other.stop))
        elif piece.at < piece.stop and not (self.lead_alone and self.lead):
            self._waiting = sorted([*self._waiting, (piece.at, piece.stop)])
            while self.lead is not None and self._waiting and self._waiting[0][0] == self.lead.stop:
                self.lead.stop = self._waiting.pop(0)[1]  # it comes past there anyway

    def leave_to_lead(self, piece: ByteRange | None) -> bool:
        """Let the lead bring all, as others are refused or break; False where there is no lead but the piece itself."""
        if self.lead is None or self.lead is piece:
            return False
        self.lead_alone = True
        self.lead.stop = self._end
        self._waiting = []
        return True

    def look_again(self) -> None:
        """Let all that is missing wait: nobody is at work, whatever became of it."""
        if not self._waiting:
            self._waiting, self.lead_alone = self._part.missing(), False

    def worth_connections(self) -> int:
        """Return how many more connections would find a piece."""
        if self.lead_alone:
            return 0
        pieces = sum(-(-(stop - start) // SMALLEST) for start, stop in self._waiting)
        if self.lead is not None:
            pieces += max(0, (self.lead.stop - self.lead.at) // SMALLEST - 1)
        return pieces


def _without(spans: list[tuple[int, int]], gone: tuple[int, int]) -> list[tuple[int, int]]:
    """Take one span out of others.

    Example:
        >>> _without([(0, 10), (20, 30)], (0, 4))
        [(4, 10), (20, 30)]
    """
    left = []
    for start, stop in spans:
        pairs = ((start, min(stop, gone[0])), (max(start, gone[1]), stop))
        left += [(low, high) for low, high in pairs if low < high]
    return left
