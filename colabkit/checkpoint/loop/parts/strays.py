"""What takes part in the steps of a loop and is not given to it, so that a checkpoint is without it."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import TYPE_CHECKING, Any

from colabkit._patches import tensorflow_random

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKS = 2  # each goes through all objects of the process


class StrayOptimizers:
    """Notices an optimizer that steps in a loop and is not given to it; one that is made for each step is none.

    Args:
        given: The optimizers of the loop.
        step: Says which step the loop is in; None between two.
        tell: Called once, with such an optimizer.
    """

    def __init__(self, given: list[Any], *, step: Callable[[], int | None], tell: Callable[[Any], None]) -> None:
        self._given = {id(getattr(each, "optimizer", each)) for each in given} | set(map(id, given))
        self._step = step
        self._tell = tell
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._hook: Any = None

    def install(self) -> None:
        """Begin to look, where this torch can tell of steps."""
        optimizers = sys.modules.get("torch.optim.optimizer")
        if (register := getattr(optimizers, "register_optimizer_step_post_hook", None)) is not None:
            self._hook = register(self._after_step)

    def release(self) -> None:
        """Look no more."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = None

    def _after_step(self, optimizer: Any, *_: Any) -> None:
        step = self._step()
        if step is None or id(optimizer) in self._given:
            return
        if self._seen.setdefault(optimizer, step) != step:
            self.release()
            self._tell(optimizer)


class StrayReaders:
    """Notices an iterator of a DataLoader that is opened before a step and read in it, as `next(batches)` does.

    It looks at the first steps, and then no more.

    Args:
        tell: Called once, where there is one.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._left = _LOOKS
        self._readers: list[tuple[Any, int]] = []  # the iterators before a step, and how many batches each has given

    def step_begins(self) -> None:
        """Take note of the iterators that there are."""
        module = sys.modules.get("torch.utils.data.dataloader")
        if self._left and module is not None:
            kind = module._BaseDataLoaderIter
            readers = [each for each in gc.get_objects() if issubclass(type(each), kind)]
            self._readers = [(weakref.ref(each), each._num_yielded) for each in readers]

    def step_ends(self) -> None:
        """Look whether one of them was read in the step."""
        is_read = any(getattr(reader(), "_num_yielded", 0) > count for reader, count in self._readers)
        self._readers = []
        self._left = 0 if is_read else max(0, self._left - 1)
        if is_read:
            self._tell()


class StrayTensorFlow:
    """Notices a `tf.random.Generator`, or an iterator of `tf.data`, that is used in several steps and not given.

    Args:
        given: What the loop is given.
        step: Says which step the loop is in; None between two.
        tell: Called once for each, with its class.
    """

    def __init__(self, given: list[Any], *, step: Callable[[], int | None], tell: Callable[[str], None]) -> None:
        self._given = set(map(id, given))
        self._step = step
        self._tell = tell
        self._seen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._told: set[str] = set()

    def install(self) -> None:
        """Begin to look, where TensorFlow is in use."""
        tensorflow_random.watch_objects(self._used)

    def release(self) -> None:
        """Look no more."""
        tensorflow_random.watch_objects(None)

    def _used(self, user: Any, *, is_shared: bool) -> None:
        step, kind = self._step(), type(user).__name__
        if step is None or is_shared or id(user) in self._given or kind in self._told:
            return
        if self._seen.setdefault(user, step) != step:
            self._told.add(kind)
            self._tell(kind)
