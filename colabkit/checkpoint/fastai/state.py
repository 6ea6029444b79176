"""What a fastai learner is made of while it trains, taken apart into arrays and plain values, and put back."""

from __future__ import annotations

import contextlib
import hashlib
import random
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.carried.held import HeldObjects, of_trainer
from colabkit.checkpoint.loop.data.rows import WORKERS, check_samples, fingerprint
from colabkit.checkpoint.state import loose, pytree, rng
from colabkit.checkpoint.state.class_names import by_class_name
from colabkit.checkpoint.state.torch import to_torch
from colabkit.errors import CheckpointError, RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Array = np.ndarray[Any, Any]

_TENSOR, _TENSORS, _FLOATS, _LIST = "torch.Tensor", "torch.Tensors", "floats", "fastcore.L"
_LEARNER = ("train_iter", "pct_train", "smooth_loss", "final_record")
_CLOCKS = ("start_epoch",)  # wall-clock times mean nothing in another process


# ---- values ----


def encode(value: Any) -> Any:
    """Bring a value into what `snapshot.take_apart` takes, so that `decode` finds its types again.

    Raises:
        CheckpointError: It holds something else, such as a function.
    """
    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic | np.ndarray):
        return value
    import torch
    from fastcore.foundation import L

    if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):  # whose identity counts
        return {_TENSOR: _plain(value)}
    if isinstance(value, list) and len(value) > 1:  # a value for each step: one array instead of thousands
        if all(isinstance(item, float) for item in value):
            return {_FLOATS: np.array(value)}
        if all(isinstance(item, torch.Tensor) and not item.ndim and item.dtype == value[0].dtype for item in value):
            return {_TENSORS: torch.stack([_plain(item).cpu() for item in value])}
    if isinstance(value, L):
        return {_LIST: [encode(item) for item in value]}
    if type(value) in (list, tuple):
        return type(value)(encode(item) for item in value)
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    raise CheckpointError(f"a {type(value).__name__} is not saved")


def decode(value: Any, device: Any = "cpu") -> Any:
    """Undo `encode`; tensors come to a device."""
    if isinstance(value, list | tuple):
        return type(value)(decode(item, device) for item in value)
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), None):
        case (str(kind), items) if len(value) == 1 and kind in (_TENSOR, _TENSORS, _FLOATS, _LIST):
            if kind == _FLOATS:
                return items.tolist()
            if kind == _LIST:
                from fastcore.foundation import L

                return L(decode(item, device) for item in items)
            return to_torch(items).to(device) if kind == _TENSOR else list(to_torch(items))
    return {key: decode(item, device) for key, item in value.items()}


def _plain(tensor: Any) -> Any:
    import torch

    return tensor.detach().as_subclass(torch.Tensor)


# ---- the random generators ----


def generators(dls: Any) -> dict[str, Array]:
    """Copy the states of the global generators and of those of the data loaders, and orders that they shuffle on."""
    import torch

    states = rng.capture()
    for number, loader in enumerate(dls.loaders):
        if (order := _order_of(loader)) is not None:
            states[f"rng/loader_order/{number}"] = np.array(order, np.int64)
        if isinstance(own := getattr(loader, "rng", None), random.Random):
            _, words, gauss = own.getstate()
            states[f"rng/loader/{number}"] = np.array(words, np.uint32)
            states[f"rng/loader_gauss/{number}"] = np.array([np.nan if gauss is None else gauss])
        if isinstance(own := getattr(loader, "generator", None), torch.Generator):
            states[f"rng/loader_torch/{number}"] = own.get_state().numpy().copy()
    return states


def restore_generators(dls: Any, tensors: Mapping[str, Array], *, prefix: str = "") -> None:
    """Put back what `generators` took, which may have been saved under a prefix."""
    states = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(f"{prefix}rng/")}
    for number, loader in enumerate(dls.loaders):
        if (numbers := states.get(f"rng/loader_order/{number}")) is not None:
            _set_order(loader, numbers.tolist())
        if (words := states.get(f"rng/loader/{number}")) is not None:
            gauss = float(states[f"rng/loader_gauss/{number}"][0])
            loader.rng.setstate((3, tuple(int(word) for word in words), None if np.isnan(gauss) else gauss))
        if (state := states.get(f"rng/loader_torch/{number}")) is not None:
            loader.generator.set_state(to_torch(state))
    rng.restore(states)


def _order_of(loader: Any) -> Any:
    """Return the order of the texts of a language model, which each epoch shuffles anew from that of the one before."""
    order = getattr(getattr(loader, "items", None), "idxs", None)
    return order if order is not None and hasattr(loader, "make_chunks") else None


def _set_order(loader: Any, numbers: list[int]) -> None:
    order = _order_of(loader)
    if order is None or len(order) != len(numbers):
        return
    for at, number in enumerate(numbers):  # in place, as the lengths of the texts have the same list
        order[at] = number
    loader.items.cache_clear()
    loader.make_chunks()


# ---- the learner ----


def advance_bars(callbacks: Iterable[Any]) -> None:
    """Tell progress bars of an epoch that is passed over: they begin with the first one, or fail."""
    for callback in callbacks:
        if "mbar" in vars(callback):
            callback.before_epoch()


def capture_model(learn: Any) -> dict[str, Array]:
    """See the weights as arrays, which are views where the model is on the CPU."""
    tensors: dict[str, Array] = {}
    for name, tensor in learn.model.state_dict().items():
        pytree.flatten(tensor, f"model/{name}", tensors)
    return tensors


def capture_rest(learn: Any, others: Iterable[Any]) -> dict[str, Any]:
    """Take the optimizer, the gradients that wait, the scaler of mixed precision, the callbacks and the metrics."""
    rest = {
        "optimizer": encode(learn.opt.state_dict()),
        "gradients": _gradients(learn, others),
        "learner": {name: encode(getattr(learn, name)) for name in _LEARNER if name in vars(learn)},
        "callbacks": {key: _attributes(callback) for key, callback in named(others).items()},
        "metrics": {key: _attributes(metric) for key, metric in _metrics(learn).items()},
        "rows": _rows(others),
    }
    if (scaler := vars(learn).get("scaler")) is not None:
        rest["scaler"] = scaler.state_dict()
    return rest


def _rows(callbacks: Iterable[Any]) -> dict[str, str]:
    """Read what a CSVLogger has written, which begins its file anew in each fit."""
    tables = {}
    for key, callback in named(callbacks).items():
        if type(callback).__name__ == "CSVLogger":
            file = vars(callback).get("file")
            with contextlib.suppress(OSError, UnicodeError):
                if file is not None and not file.closed:
                    file.flush()
                tables[key] = (callback.path / callback.fname).read_text(encoding="utf-8")
    return tables


def _write_rows(callbacks: Iterable[Any], rows: Mapping[str, str]) -> None:
    for key, callback in named(callbacks).items():
        file = vars(callback).get("file")
        if key in rows and file is not None and not file.closed:
            file.seek(0)
            file.truncate()
            file.write(rows[key])
            file.flush()


def apply(learn: Any, others: Iterable[Any], tensors: Mapping[str, Array], state: Mapping[str, Any]) -> None:
    """Put back what `capture_model` and `capture_rest` took."""
    import torch
    from fastai.optimizer import OptimWrapper

    device = next(learn.model.parameters()).device
    start = len("model/")
    weights = {name[start:]: to_torch(array) for name, array in tensors.items() if name.startswith("model/")}
    learn.model.load_state_dict(weights)
    wraps_torch = isinstance(learn.opt, OptimWrapper)  # an optimizer of torch knows which of its values stay on the CPU
    learn.opt.load_state_dict(decode(state["optimizer"], "cpu" if wraps_torch else device))
    for parameter, gradient in zip(learn.model.parameters(), state["gradients"], strict=True):
        if gradient is None:
            parameter.grad = None
        else:
            parameter.grad = torch.zeros_like(parameter) if gradient == 0 else decode(gradient, device)
    for name, value in state["learner"].items():
        setattr(learn, name, decode(value))
    for owners, saved in ((named(others), state["callbacks"]), (_metrics(learn), state["metrics"])):
        for key, owner in owners.items():
            for name, value in saved.get(key, {}).items():
                content = decode(value)
                if not loose.fill(vars(owner).get(name), content):  # a list of it may have other names
                    vars(owner)[name] = content
    _write_rows(others, state.get("rows", {}))
    if (scaler := vars(learn).get("scaler")) is not None and state.get("scaler"):
        scaler.load_state_dict(state["scaler"])


def _gradients(learn: Any, others: Iterable[Any]) -> list[Any]:
    """Take the gradients that wait for a step; fastai keeps them as zeros where none do, and tells that from none."""
    wait = any(type(callback).__name__ == "GradientAccumulation" for callback in others)
    grads = [parameter.grad for parameter in learn.model.parameters()]
    return [None if grad is None else encode(grad) if wait else 0 for grad in grads]


def named(callbacks: Iterable[Any]) -> dict[str, Any]:
    """Name callbacks by class, the second of a class with its number; without those that say `stateless = True`."""
    return by_class_name(callback for callback in callbacks if not getattr(callback, "stateless", False))


def _metrics(learn: Any) -> dict[str, Any]:
    metrics = {f"{number}": metric for number, metric in enumerate(learn.metrics)}
    if (recorder := getattr(learn, "recorder", None)) is not None:
        metrics |= {"loss": recorder.loss, "smooth_loss": recorder.smooth_loss}
    return metrics


def _attributes(owner: Any) -> dict[str, Any]:
    """Take what an object keeps, without what is no value: functions, files, progress bars."""
    attributes = {}
    for name, value in vars(owner).items():
        if name == "learn" or name in _CLOCKS or name.startswith("__"):
            continue
        try:
            encoded = encode(value)
            pytree.flatten(encoded, name, {})
        except CheckpointError:
            continue
        attributes[name] = encoded
    return attributes


def held_of(learn: Any, others: Iterable[Any]) -> HeldObjects:
    """Find what a learner is given of the user's, whose code fastai calls."""
    metrics = [each for metric in learn.metrics for each in (metric, getattr(metric, "func", None))]
    functions = [each for each in metrics if each is not None]
    beside = {"dls", *(getattr(each, "name", "") for each in learn.cbs)}  # fastai gives a learner its callbacks by name
    return of_trainer(learn, named(others), beside=beside, called=functions, saves=lambda _: False)


# ---- what a run belongs to ----


def fit_identity(learn: Any, call: int) -> str:
    """Tell the fits of one run apart: by the parameters that are trained, and by the calls of one callback."""
    trained = bytes(parameter.requires_grad for parameter in learn.model.parameters())
    return f"{call}-{hashlib.sha256(trained).hexdigest()[:12]}"


def layout(learn: Any) -> list[list[Any]]:
    """Name the weights with their shapes."""
    return [[name, list(tensor.shape)] for name, tensor in learn.model.state_dict().items()]


def check_same_model(run: str, saved: list[list[Any]], now: list[list[Any]]) -> None:
    """Refuse weights of another model.

    Raises:
        RunMismatchError: The message names the first that differs.
    """
    if saved == now:
        return
    pairs = zip(saved, now, strict=False)
    before, given = next((pair for pair in pairs if pair[0] != pair[1]), (None, None))
    why = f"it has {len(saved)} weights, this one {len(now)}"
    if before is not None and given is not None:
        why = f"where it has {before[0]} {tuple(before[1])}, this one has {given[0]} {tuple(given[1])}"
    raise RunMismatchError(
        f"the run {run} belongs to another model", why=why, hint="build it as it was, or open a run under another name"
    )


def identity(dls: Any) -> dict[str, Any]:
    """Describe the training data, so that other data is noticed."""
    train = dls.train
    try:
        steps: int | None = len(train)
    except TypeError:  # a stream
        steps = None
    batch_size = getattr(train, "bs", None) or getattr(train, "batch_size", None)
    dataset: Any = getattr(train, "dataset", None)
    samples = getattr(train, "n", None)
    if samples is None and hasattr(dataset, "__len__"):
        samples = len(dataset)
    items = _digest(dataset)
    lists = fingerprint(dataset) if items is None else {}
    workers = getattr(getattr(train, "fake_l", train), "num_workers", 0)  # fastai takes as many as there are cores
    sizes = {"samples": samples, "batch_size": batch_size, "steps": steps, WORKERS: workers}
    return {**sizes, "items": items, "rows": lists}


def _digest(dataset: Any) -> str | None:
    """Hash what names or makes the samples; None where that is nothing that can be hashed."""
    from fastcore.foundation import L

    items: Any = getattr(dataset, "items", None)
    digest = hashlib.sha256()
    if hasattr(items, "to_csv"):
        digest.update(items.to_csv().encode())
    elif not isinstance(items, list | L | np.ndarray) or not all(feed(digest, item) for item in items):
        return None
    return digest.hexdigest()[:16]


def feed(digest: Any, item: Any) -> bool:
    """Hash one item: a file by its name without the folders above, numbers, texts, arrays and tuples of these."""
    if isinstance(item, tuple):
        return all(feed(digest, part) for part in item)
    if isinstance(item, np.ndarray | np.generic) and not item.dtype.hasobject:
        digest.update(np.ascontiguousarray(item).tobytes())
    elif isinstance(item, str | int | float | PurePath):
        name = "/".join(item.parts[-2:]) if isinstance(item, PurePath) else str(item)
        digest.update(name.encode(errors="surrogateescape") + b"\0")
    else:
        return False
    return True


def check_same_data(run: str, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse other data than the run was trained on.

    Raises:
        RunMismatchError: The message names what differs.
    """
    apart = ("rows", WORKERS)
    check_samples(run, *({name: data[name] for name in apart if name in data} for data in (saved, now)), refuse=True)
    changed = [
        f"{name}: {saved[name]} -> {now[name]}"
        for name in now
        if name not in apart and saved.get(name, now[name]) != now[name]
    ]
    if changed:
        raise RunMismatchError(
            f"the run {run} was trained on other data",
            why="; ".join(changed),
            hint="pass the same data and batch size; a split without a seed is another one in each process: "
            "RandomSplitter(seed=0), seed=0 beside valid_pct. Or check_data=False, or open a run under another name",
        )


def history(learn: Any) -> dict[str, Any]:
    """Return the numbers of the epochs so far, in the form of Keras' history."""
    recorder = getattr(learn, "recorder", None)
    rows = list(getattr(recorder, "values", []))
    names = [name for name in getattr(recorder, "metric_names", []) if name not in ("epoch", "time")]
    columns = {
        name: [float(row[at]) for row in rows]
        for at, name in enumerate(names)
        if all(at < len(row) and isinstance(row[at], int | float) for row in rows)
    }
    return {"epoch": list(range(len(rows))), "values": columns}
