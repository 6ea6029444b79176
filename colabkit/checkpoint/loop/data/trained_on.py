"""What a training reads, as its checkpoints tell it: its data, and which samples the splits of it chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.loop.data.splits import Splits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit.checkpoint.loop.data.splits import Array


class TrainedOn:
    """The data of a training, looked at when it begins.

    Args:
        identity: Describes the data, so that other data is noticed.
        loaders: Lists what gives the batches.

    Attributes:
        identity: What the data is.
        splits: The parts of it that the program holds.
    """

    def __init__(self, identity: Callable[[], dict[str, Any]], loaders: Callable[[], list[Any]]) -> None:
        self.identity: dict[str, Any] = {}
        self.splits = Splits()
        self._identify = identity
        self._loaders = loaders

    def look(self) -> None:
        """Note what is there now."""
        self.identity, self.splits = self._identify(), Splits(self._loaders())

    def give(self, run: str, described: Mapping[str, int], tensors: Mapping[str, Array]) -> bool:
        """Put back the samples that the splits chose when the run was begun; says whether they were others.

        Args:
            run: The run's name.
            described: What `Splits.describe` returned.
            tensors: With the arrays that it added.
        """
        were_others = self.splits.give(run, described, tensors)
        if were_others:
            self.identity = self._identify()
        return were_others
