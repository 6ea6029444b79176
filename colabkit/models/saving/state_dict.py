"""The weights of a torch module in a file that anybody's torch reads without running code: safetensors, or `.pt`."""

from __future__ import annotations

import json
import pickle
import re
import struct
from typing import TYPE_CHECKING, Any

from colabkit._internal import foreign
from colabkit._internal.disk.files import atomic_path
from colabkit.errors import AddressError, ModelFileError, UnsafeModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAFETENSORS, PICKLES = ".safetensors", (".pt", ".pth")
_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_RUNS_NOTHING = (2, 6)
"""The torch whose `weights_only` keeps its promise."""
_MAX_HEADER = 100_000_000  # the limit of the safetensors format


def is_module(model: Any) -> bool:
    """Say whether it is a torch module, and no model of Keras, which on its torch backend is one too."""
    of_keras = any(kind.__module__.startswith("keras.") for kind in type(model).__mro__)
    return hasattr(model, "named_parameters") and hasattr(model, "state_dict") and not of_keras


def is_file(path: Path) -> bool:
    """Say whether a name is that of a file of weights for torch."""
    return path.name.endswith((SAFETENSORS, *PICKLES))


def save(module: Any, path: Path) -> Path:
    """Save the weights of a module.

    Raises:
        AddressError: The ending says nothing.
        ModelFileError: A value that is no tensor, for a safetensors file.
    """
    state = {name.replace("_orig_mod.", ""): value for name, value in module.state_dict().items()}
    if path.name.endswith(SAFETENSORS):
        with atomic_path(path) as temporary:
            _write(state, temporary)
        return path
    if path.name.endswith(PICKLES):
        import torch

        with atomic_path(path) as temporary:
            torch.save(state, temporary)
        return path
    raise AddressError(
        f"{path} does not say how to save a torch module",
        hint=f"for its weights {path.with_suffix(SAFETENSORS)}, or {path.with_suffix('.pt')} as torch.save writes it",
    )


def load(path: Path, into: Any, *, trusted: bool = False) -> Any:
    """Give a module the weights of a file; nothing in it is run.

    Args:
        path: The file.
        into: The module.
        trusted: Let a torch that may run a file's code read a `.pt` all the same.

    Raises:
        AddressError: There is no module to put them into, or no such file.
        ModelFileError: The file is damaged, or they do not fit.
        UnsafeModelError: It holds more than tensors.
    """
    if into is None or not is_module(into):
        raise AddressError(
            f"{path} holds weights alone",
            why="they need a module to go into",
            hint="build the module and pass it: load_model(..., into=module)",
        )
    if not path.is_file():
        raise AddressError(f"there is no file {path}", hint="check the path")
    state = _read(path) if path.name.endswith(SAFETENSORS) else _unpickle(path, trusted=trusted)
    try:
        into.load_state_dict(state)
    except Exception as error:  # whatever torch makes of names and shapes that others chose
        raise ModelFileError(
            f"the weights in {path} do not fit the module",
            why="; ".join(line.strip() for line in str(error).splitlines()[1:3]) or str(error),
            hint="build the module as it was",
        ) from error
    return into


def _write(state: Mapping[str, Any], path: Path) -> None:
    import torch

    names = {value: key for key, value in _TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset, tensors = 0, []
    for name, value in state.items():
        kind = str(getattr(value, "dtype", "")).removeprefix("torch.")
        if kind not in names:
            raise ModelFileError(f"{name} cannot be saved as safetensors", hint=f"save {path.stem}.pt instead")
        tensor = value.detach().cpu().contiguous()
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": names[kind], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
        tensors.append(tensor)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            if tensor.numel():
                file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _read(path: Path) -> dict[str, Any]:
    import torch

    with foreign.reading(lambda why: ModelFileError(f"{path} is not a safetensors file", why=why)):
        content = path.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        if size > min(_MAX_HEADER, len(content)):
            raise ValueError("its header is longer than the file")
        header = foreign.loads(content[8 : 8 + size])
        body, tensors, left = bytearray(content[8 + size :]), {}, len(content)
        for name, entry in header.items():
            if name in ("__metadata__", "colabkit.sha256"):
                continue
            begin, end = entry["data_offsets"]
            kind = getattr(torch, _TYPES[entry["dtype"]])
            if not 0 <= begin <= end <= len(body):
                raise ValueError(f"{name} lies outside the file")
            left -= end - begin
            if left < 0:
                raise ValueError("its tensors lie over one another")
            part = body[begin:end]
            flat = torch.frombuffer(part, dtype=torch.uint8).view(kind) if part else torch.empty(0, dtype=kind)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def _unpickle(path: Path, *, trusted: bool) -> Any:
    import torch

    if not trusted and tuple(map(int, re.findall(r"\d+", torch.__version__)[:2])) < _RUNS_NOTHING:
        raise UnsafeModelError(
            f"{path} is a pickle, and torch {torch.__version__} can be made to run what it says",
            why="weights_only=True keeps that off from torch 2.6 on (CVE-2025-32434)",
            hint="use a .safetensors file, a newer torch, or pass trusted=True for a file that you made yourself",
        )
    with foreign.reading(lambda why: ModelFileError(f"{path} is not a file of torch.save", why=why)):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise UnsafeModelError(
                f"{path} holds more than tensors",
                why=foreign.reason(error),
                hint="save module.state_dict() instead of the module: ck.save_model(module, path)",
            ) from error
