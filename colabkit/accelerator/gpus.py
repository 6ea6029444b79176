"""What keeps a GPU that is there from being used: a driver that is too old, and others who hold its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colabkit.runtime.devices import Accelerator

# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}

_GIB = 1024**3
_NOTABLE_SHARE = 0.1
"""The share of a GPU's memory that a desktop or the driver itself may take without a word."""


def driver_too_old(gpu: Accelerator, cuda: int | None) -> str | None:
    """Say that a GPU's driver is older than a version of CUDA asks for; None where it is not.

    Args:
        gpu: The GPU.
        cuda: The major version of CUDA that a framework was built for.

    Example:
        >>> from colabkit.runtime.devices import Accelerator
        >>> driver_too_old(Accelerator(kind="gpu", name="Tesla T4", driver="470.82.01"), 12)
        'CUDA 12 asks for a driver of 525 or newer, and that of the Tesla T4 is 470.82.01'
        >>> driver_too_old(Accelerator(kind="gpu", name="Tesla T4", driver="550.54.15"), 12) is None
        True
    """
    oldest, major = _OLDEST_DRIVER.get(cuda or 0), (gpu.driver or "").partition(".")[0]
    if oldest is None or not major.isdigit() or int(major) >= oldest:
        return None
    return f"CUDA {cuda} asks for a driver of {oldest} or newer, and that of the {gpu.name} is {gpu.driver}"


def gpu_processes(gpu: Accelerator) -> str | None:
    """Say that others hold memory of a GPU, for a process that does not use one itself; None where that is not so.

    Example:
        >>> from colabkit.runtime.devices import Accelerator
        >>> gpu_processes(Accelerator(kind="gpu", name="Tesla T4", memory=15 * 2**30, memory_used=9 * 2**30))
        'another process holds 9.0 of the 15.0 GiB of the Tesla T4'
    """
    if not gpu.memory or not gpu.memory_used or gpu.memory_used < _NOTABLE_SHARE * gpu.memory:
        return None
    return f"another process holds {gpu.memory_used / _GIB:.1f} of the {gpu.memory / _GIB:.1f} GiB of the {gpu.name}"
