"""The data of a torch training in `train`, as loaders: of a user's own, or made of datasets, tensors and arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit.errors import DataError
from colabkit.models.base import ImageData
from colabkit.models.custom import OwnModel

if TYPE_CHECKING:
    from colabkit.models.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """Where the batches of a training come from.

    Attributes:
        train: A DataLoader.
        validation: What is measured after each epoch; None for nothing.
        test: What is measured at the end; None for nothing.
        arrays: The samples, where they were given as arrays or tensors.
        words: What is trained on.
    """

    train: Any
    validation: Any
    test: Any
    arrays: ImageData | None
    words: str

    @property
    def steps(self) -> int | None:
        """Steps of an epoch; None where nobody knows."""
        return None if (size := _length(self.train)) is None else size

    def described(self, targets: Any, labels: tuple[str, ...]) -> ImageData:
        """Describe the data for a result: the arrays, or how many samples there are."""
        if self.arrays is not None:
            given = self.arrays
            return ImageData(
                x_train=given.x_train,
                y_train=given.y_train,
                x_test=given.x_test,
                y_test=given.y_test,
                labels=labels,
                source=given.source,
            )
        import numpy as np

        count = _length(getattr(self.train, "dataset", None)) or 0
        y = np.empty(0) if targets is None else np.asarray(targets)
        return ImageData(
            x_train=np.empty((count, 0)),
            y_train=np.empty(count),
            x_test=np.empty((len(y), 0)),
            y_test=y,
            labels=labels,
            source=f"a {type(self.train).__name__}",
        )


def open_loaders(data: Any, test: Any, settings: Settings, *, batch_size: int) -> Loaders:
    """Make the loaders.

    Args:
        data: What the user's function gives to train on.
        test: What it gives to test on; None for what comes with the data.
        settings: What `train` was asked for.
        batch_size: Samples a step, where the loader is not the user's own.

    Raises:
        DataError: It cannot be read, or an argument does not go with a loader of the user's own.
    """
    from torch.utils.data import DataLoader, Dataset, IterableDataset

    arrays: ImageData | None = None
    if isinstance(data, DataLoader) or (hasattr(data, "__iter__") and hasattr(data, "dataset")):
        for label, value in (("batch_size", settings.batch_size), ("validation", _share(settings.validation))):
            if value is not None:
                raise DataError(
                    f"{label}= does not work with a DataLoader of your own",
                    hint="give the Dataset or arrays as data; or set the size there, and pass validation=(x, y)",
                )
        train, dataset = data, data.dataset
    elif isinstance(data, Dataset):
        dataset = data
    else:
        arrays = _arrays(data, test)
        dataset = _tensors(arrays.x_train, arrays.y_train)
        if test is None and len(arrays.x_test):
            test = (arrays.x_test, arrays.y_test)
    validation, rest = _validation(settings.validation, dataset, batch_size)
    if rest is not None:
        dataset = rest
    if not isinstance(data, DataLoader):
        streams = isinstance(dataset, IterableDataset)
        train = data if hasattr(data, "dataset") else DataLoader(dataset, batch_size=batch_size, shuffle=not streams)
    count = _length(dataset)
    words = f"{type(dataset).__name__}" if arrays is None else arrays.source
    return Loaders(
        train=train,
        validation=validation,
        test=None if test is None else _measured(test, batch_size),
        arrays=arrays,
        words=f"{words}, {count:,} training samples" if count is not None else words,
    )


def _share(given: Any) -> Any:
    return given if isinstance(given, (int, float)) or hasattr(given, "dtype") else None


def _validation(given: Any, dataset: Any, batch_size: int) -> tuple[Any, Any]:
    """Return the loader to validate on, and what is left to train on where a share of it is taken."""
    if given is None:
        return None, None
    if (share := _share(given)) is None:
        return _measured(given, batch_size), None
    import numpy as np
    from torch.utils.data import Subset

    total = _length(dataset)
    number = round((total or 0) * float(share))
    if total is None or not 0 < number < total:
        raise DataError(f"validation={share:g} of {total} samples is {number}", hint="pass another share, or (x, y)")
    order = np.random.default_rng(0).permutation(total)
    drawn, rest = sorted(order[:number].tolist()), sorted(order[number:].tolist())
    return _measured(Subset(dataset, drawn), batch_size), Subset(dataset, rest)


def _measured(given: Any, batch_size: int) -> Any:
    """Make a loader that keeps the order."""
    from torch.utils.data import DataLoader, Dataset

    if isinstance(given, DataLoader):
        return given
    if not isinstance(given, Dataset):
        read = _arrays(given, None)
        given = _tensors(read.x_train, read.y_train)
    return DataLoader(given, batch_size=max(batch_size, 256))


def _arrays(data: Any, test: Any) -> ImageData:
    """Bring tensors and arrays into one form."""
    read = OwnModel(dict).load(_numpy(data))
    if isinstance(test, (tuple, list)):
        tested = OwnModel(dict).load(_numpy(test))
        return ImageData(
            x_train=read.x_train,
            y_train=read.y_train,
            x_test=tested.x_train,
            y_test=tested.y_train,
            labels=(),
            source=read.source,
        )
    return read


def _numpy(value: Any) -> Any:
    if hasattr(value, "detach"):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _numpy(item) for key, item in value.items()}
    return type(value)(_numpy(item) for item in value) if type(value) in (list, tuple) and len(value) == 2 else value


def _tensors(x: Any, y: Any) -> Any:
    """Make a dataset: numbers of 64 bits as torch's own, class numbers as torch's losses want them."""
    import numpy as np
    import torch
    from torch.utils.data import TensorDataset

    tensors = [torch.as_tensor(np.ascontiguousarray(each)) for each in (x, y)]
    tensors = [each.to(torch.get_default_dtype()) if each.dtype == torch.float64 else each for each in tensors]
    if not tensors[1].is_floating_point() and tensors[1].dtype != torch.bool:
        tensors[1] = tensors[1].long()
    return TensorDataset(*tensors)


def _length(owner: Any) -> int | None:
    try:
        return len(owner)
    except (TypeError, NotImplementedError):
        return None
