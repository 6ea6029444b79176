"""`batch_size="auto"`: the largest power of two whose steps fit the memory, found by a few steps of each size."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.out_of_memory import is_out_of_memory, let_go
from colabkit.checkpoint.state import rng
from colabkit.errors import OutOfMemoryError
from colabkit.models.base import HasVariants
from colabkit.runtime import resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit.models.base import ImageData, ReferenceModel
    from colabkit.models.recipes import Plan

AUTO = "auto"
_START = 32
_LEAST_STEPS = 16  # of an epoch: fewer updates learn little, whatever fits
_SECONDS = 12.0
_SLOWER = 1.5  # times the fastest size's seconds a sample: one step tells them with noise, and twice is the most
_ROOM = 0.8  # of the memory that is free now: others need some, and a long training more than its first steps


@dataclass(frozen=True, kw_only=True)
class Found:
    """A batch size, and how it was found.

    Attributes:
        size: Samples a step.
        why: What ended the search, in words.
    """

    size: int
    why: str


def most_for(samples: int) -> int:
    """Say the largest batch that is tried: a power of two that leaves an epoch some steps.

    Example:
        >>> most_for(60_000), most_for(500), most_for(3)
        (2048, 16, 1)
    """
    return 1 << max(0, (samples // _LEAST_STEPS).bit_length() - 1)


def find(
    attempt: Callable[[int], float],
    *,
    most: int,
    fits: Callable[[int], bool] = lambda _: True,
    seconds: float = _SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Find the largest power of two that fits, and is not much slower than a smaller one.

    Args:
        attempt: Trains some steps of a size and gives the seconds of one; raises what says that memory is out.
        most: The largest size.
        fits: Says before it is tried whether a size is expected to fit; asked after each attempt, of the next size.
        seconds: How long it may take.
        clock: Tells the time.

    Raises:
        OutOfMemoryError: Not even one sample fits.

    Example:
        >>> find(lambda size: size * 1e-3, most=256).size
        256
    """
    began, spent = clock(), 0.0
    size, why = min(_START, most), ""
    rates: dict[int, float] = {}
    while True:
        before = clock()
        try:
            rates[size] = size / max(attempt(size), 1e-9)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            let_go(error)
            why = f"{size} does not fit the memory"
            if rates:
                break
            if size == 1:
                raise OutOfMemoryError(
                    "not even one sample fits the memory",
                    hint="take a smaller model or smaller samples, or a machine with more memory",
                ) from None
            size //= 2
            continue
        spent = clock() - before
        if why:  # a larger one did not fit
            break
        if size >= most:
            why = f"an epoch keeps {_LEAST_STEPS} steps" if most > 1 else "there are few samples"
            break
        if not fits(size * 2):
            why = f"{size * 2} would not fit the memory"
            break
        if clock() - began + 2 * spent > seconds:
            why = f"{size * 2} would take longer than a search may"
            break
        size *= 2
    fast = max(rates.values()) / _SLOWER
    best = max(each for each, rate in rates.items() if rate >= fast)
    if best < max(rates):
        why = f"larger ones take more than {_SLOWER:g} times as long a sample ({why})"
    return Found(size=best, why=why)


def find_keras(plan: Plan, reference: ReferenceModel, samples: ImageData, *, fine_tune: bool) -> Found:
    """Find the batch size of a model of Keras, on a second one that is thrown away.

    Args:
        plan: How it will be trained.
        reference: Builds it.
        samples: What it is trained on.
        fine_tune: Whether the whole network is trained in the end, which needs the most memory.
    """
    from colabkit.models import recipes

    forecast = MemoryForecast(on_cpu=plan.strategy.device == "cpu")
    with unseen():
        model = recipes.build(replace(plan, steps_per_execution=None), reference, samples=len(samples.x_train))
        if fine_tune and isinstance(reference, HasVariants):
            reference.unfreeze(model, plan.learning_rate)

        def attempt(size: int) -> float:
            x, y = samples.x_train[:size], samples.y_train[:size]
            return timed(lambda: model.train_on_batch(x, y))

        return find(attempt, most=most_for(len(samples.x_train)), fits=forecast.fits)


class MemoryForecast:
    """Says whether the next size fits the memory of a machine that computes on its CPU, where nothing refuses it.

    There the system ends a process rather than refuse it memory. So the growth of the process is measured, and taken to
    double with the batch.

    Args:
        on_cpu: Whether the training computes on the CPU; a GPU says by itself that its memory is out.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        self._on_cpu = on_cpu
        self._base = _status("VmRSS")
        memory = resources.memory()
        room = [float(memory.available)] if memory is not None else []
        if (limit := _address_space()) is not None:
            room.append(float(limit - _status("VmSize")))
        self._room = min(room, default=math.inf) * _ROOM

    def fits(self, size: int) -> bool:  # noqa: ARG002 - the last attempt was of half of it
        """Say whether a batch of twice the size of the last attempt is expected to fit."""
        return not self._on_cpu or 2 * max(0, _status("VmHWM") - self._base) <= self._room


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Leave the random generators as they were."""
    states = rng.capture()
    try:
        yield
    finally:
        rng.restore(states)


def timed(step: Callable[[], Any]) -> float:
    """Do a step three times, the first time to compile it; return the seconds of the faster one of the others."""
    step()
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _status(name: str) -> int:
    """Read a size of this process in bytes; 0 where the platform does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit
