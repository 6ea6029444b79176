"""torch tensors as NumPy arrays and back; bfloat16, which NumPy does not know, by its bits."""

from __future__ import annotations

from typing import Any

_FLOAT8 = ("float8_e4m3fn", "float8_e5m2")


def to_numpy(tensor: Any) -> Any:
    """See a torch tensor as NumPy does, without a copy where it can be; it may live on a device and carry a graph."""
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in ("bfloat16", *_FLOAT8):
        return tensor.numpy(force=True)
    import ml_dtypes
    import torch

    if name in _FLOAT8:
        return tensor.contiguous().view(torch.uint8).numpy().view(getattr(ml_dtypes, name))
    return tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def to_torch(array: Any) -> Any:
    """Copy a NumPy array to a torch tensor."""
    import numpy as np
    import torch

    array = np.array(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype.name in _FLOAT8:
        return torch.from_numpy(array.view(np.uint8)).view(getattr(torch, array.dtype.name))
    return torch.from_numpy(array)
