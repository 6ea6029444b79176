"""What a run tells of itself: a state that was restored, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.progress import amount
from colabkit._internal.display.show import Shown

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit._internal.display.show import Facts
    from colabkit.checkpoint.format.naming import LocalCheckpoint
    from colabkit.checkpoint.mirror.replicator import Replicator
    from colabkit.checkpoint.writer import Writer
    from colabkit.errors import ColabKitError


_LONGEST = 200  # letters of a state that is shown whole


@dataclass(frozen=True, kw_only=True, repr=False)
class Saved(Shown):
    """A state that was restored.

    Attributes:
        step: Steps trained when it was saved.
        state: What was given to `Run.save`; arrays come back as NumPy arrays.
    """

    step: int
    state: Any

    def _facts(self) -> Facts:
        return f"Saved at step {self.step}", list(_described(self.state))

    def _line(self) -> str:
        arrays = sum(_size(one) for one in _leaves(self.state))
        shown = repr(self.state) if arrays < _LONGEST else ""  # a large state would fill the screen
        if shown and len(shown) <= _LONGEST:
            return f"Saved(step={self.step}, state={shown})"
        return f"<Saved at step {self.step}: {', '.join(f'{name} {words}' for name, words in _described(self.state))}>"


def _leaves(state: Any) -> Iterator[Any]:
    if isinstance(state, Mapping):
        state = list(state.values())
    if isinstance(state, (list, tuple)):
        for one in state:
            yield from _leaves(one)
    else:
        yield state


def _size(leaf: Any) -> int:
    return (
        int(getattr(leaf, "size", 0)) if hasattr(leaf, "dtype") else len(leaf) if isinstance(leaf, (str, bytes)) else 1
    )


def _described(state: Any) -> Iterator[tuple[str, str]]:
    """Say in a word or two what lies under each name of a state."""
    parts = list(state.items()) if isinstance(state, Mapping) else [("state", state)]
    for name, value in parts[:12]:
        if hasattr(value, "dtype") and hasattr(value, "shape"):
            yield str(name), f"{value.dtype} {tuple(value.shape)}"
        elif isinstance(value, (Mapping, list, tuple)):
            leaves = list(_leaves(value))
            size = sum(int(getattr(one, "nbytes", 0)) for one in leaves)
            yield str(name), f"{len(leaves)} values" + (f", {amount(size)}" if size else "")
        else:
            text = repr(value)
            yield str(name), text if len(text) <= 60 else f"{text[:60]} …"
    if len(parts) > 12:
        yield "", f"and {len(parts) - 12} more"


@dataclass(frozen=True, kw_only=True, repr=False)
class Status(Shown):
    """Where a run stands.

    Attributes:
        dir: The run's folder.
        saved_step: Steps trained at the newest checkpoint here that is known to be whole; None when there is none.
        checkpoints: How many checkpoint files are here.
        bytes: Their size together.
        error: What failed last, with the local write or with the mirror; None when the last try of both went well.
        mirror: Where the copies go; None for a run that is only here.
        mirrored_step: The furthest step that was copied there, as far as this process knows.
        confirmed_step: The furthest that would survive the loss of this machine, because the mirror was seen to have
            it. None also where the storage cannot tell.
        pending: What is still to be copied, in words; empty when there is nothing.
    """

    dir: Path
    saved_step: int | None
    checkpoints: int
    bytes: int
    error: str | None
    mirror: str | None = None
    mirrored_step: int | None = None
    confirmed_step: int | None = None
    pending: str = ""

    def _facts(self) -> Facts:
        unsaved = "nothing yet" if not self.checkpoints else "not read yet"
        saved = unsaved if self.saved_step is None else f"step {self.saved_step}"
        return "Status", [
            ("saved", f"{saved}, {self.checkpoints} checkpoints, {amount(self.bytes)}"),
            ("mirror", self.mirror),
            ("mirrored", None if self.mirrored_step is None else f"step {self.mirrored_step}"),
            ("confirmed", None if self.confirmed_step is None else f"step {self.confirmed_step}"),
            ("pending", self.pending),
            ("error", self.error),
            ("folder", self.dir),
        ]


def status_of(
    folder: Path,
    entries: Sequence[LocalCheckpoint],
    *,
    writer: Writer,
    mirror: Replicator | None,
    unreadable: ColabKitError | None,
) -> Status:
    """Put together where a run stands.

    Args:
        folder: The run's.
        entries: Its checkpoint files.
        writer: Writes them.
        mirror: Copies them; None for a run that is only here.
        unreadable: Why the files cannot be listed; None where they can.
    """
    error = writer.error or (mirror.error or mirror.lease.lost if mirror is not None else None) or unreadable
    status = Status(
        dir=folder,
        saved_step=writer.saved_step,
        checkpoints=len(entries),
        bytes=sum(entry.size for entry in entries),
        error=str(error) if error else None,
    )
    if mirror is None:
        return status
    return replace(
        status,
        mirror=mirror.storage.address,
        mirrored_step=mirror.jobs.mirrored_step,
        confirmed_step=mirror.jobs.confirmed_step,
        pending=mirror.pending,
    )
