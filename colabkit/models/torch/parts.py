"""Batches of torch in parts, where they do not fit the memory as a whole, and the size that does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from colabkit.errors import DataError
from colabkit.models.batch_size import Found, MemoryForecast, find, most_for, timed, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNKNOWN = 16_384  # samples, where the data does not know its length


def count_of(batch: Any) -> int:
    """Count the samples of a batch."""
    while isinstance(batch, (list, tuple, Mapping)) and batch:
        batch = batch[-1] if isinstance(batch, (list, tuple)) else next(iter(batch.values()))
    return len(batch) if hasattr(batch, "__len__") else 1


def split(batch: Any, count: int, parts: int) -> Iterator[tuple[Any, float]]:
    """Give the parts of a batch, each with its share of the samples.

    Args:
        batch: A tensor, or a list or a mapping of them.
        count: Samples in it.
        parts: How many.

    Example:
        >>> list(split([[1, 2, 3], "ab"], 3, 2))
        [([[1], 'ab'], 0.3333333333333333), ([[2, 3], 'ab'], 0.6666666666666666)]
    """
    if parts < 2:
        yield batch, 1.0
        return
    for number in range(parts):
        low, high = count * number // parts, count * (number + 1) // parts
        yield _changed(batch, count, itemgetter(slice(low, high))), (high - low) / count


def differences(module: Any, loss: Any) -> list[str]:
    """Say what is not the same mathematics when a batch is computed in parts."""
    from torch.nn.modules.batchnorm import _BatchNorm

    notes = []
    if any(isinstance(value, _BatchNorm) for value in module.modules()):
        notes.append("BatchNorm takes the mean of each part instead of that of the batch")
    if loss is None:
        notes.append("the loss of your step is taken to be a mean over the batch")
    elif getattr(loss, "weight", None) is not None:
        notes.append("the loss divides by the weights of each part instead of those of the batch")
    return notes


def find_torch(module: Any, loss_of: Callable[[Any, Any], Any], loader: Any, device: Any) -> Found:
    """Find the batch size of a module, on a copy of it that is thrown away.

    Args:
        module: The module.
        loss_of: Gives the loss of a module and a batch.
        loader: Gives batches; one is drawn and repeated.
        device: Where it trains.

    Raises:
        DataError: The module cannot be copied, or there is no batch.
    """
    import torch

    forecast = MemoryForecast(on_cpu=device.type == "cpu")
    with unseen():
        try:
            tried = copy.deepcopy(module)
        except Exception as error:
            raise DataError(
                "batch_size='auto' needs a module that can be copied", why=str(error)[:200], hint="pass a number"
            ) from error
        batch = next(iter(loader), None)
        if batch is None:
            raise DataError("the data gives no batch", hint="pass data that holds samples")
        count = count_of(batch)
        # what optimizers keep of each parameter, as Adam does
        kept = [torch.zeros_like(each) for each in tried.parameters() for _ in range(2)]
        tried.train()

        def attempt(size: int) -> float:
            times = -(-size // count)
            grown = _changed(batch, count, lambda value: _repeated(value, times)[:size])

            def step() -> None:
                loss_of(tried, on_device(grown, device)).backward()
                tried.zero_grad()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)

            return timed(step)

        try:
            samples = len(loader.dataset)
        except (TypeError, AttributeError, NotImplementedError):
            samples = _UNKNOWN
        result = find(attempt, most=most_for(samples), fits=forecast.fits)
        del kept
    return result


def _repeated(value: Any, times: int) -> Any:
    import torch

    return torch.cat([value] * times) if isinstance(value, torch.Tensor) else list(value) * times


def on_device(batch: Any, device: Any) -> Any:
    """Bring the tensors of a batch to a device."""
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: on_device(value, device) for key, value in batch.items()}
    return [on_device(value, device) for value in batch] if isinstance(batch, (list, tuple)) else batch


def _changed(batch: Any, count: int, change: Callable[[Any], Any]) -> Any:
    """Change whatever holds a value for each sample."""
    if isinstance(batch, Mapping):
        return {key: _changed(value, count, change) for key, value in batch.items()}
    if hasattr(batch, "shape"):
        return change(batch) if batch.shape and batch.shape[0] == count else batch
    if isinstance(batch, (list, tuple)):
        if len(batch) == count and not any(hasattr(value, "__len__") for value in batch):
            return change(batch)
        return [_changed(value, count, change) for value in batch]
    return batch
