"""What the installed frameworks were built for, read from files: importing one takes seconds and may take a GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Find = Callable[[str], tuple[str, Path] | None]
    """Gives the version of a distribution and the folder that it is installed in; None where it is not."""

_ROCM = tuple(f"jax-{name}-plugin" for name in ("rocm7", "rocm6", "rocm60", "rocm"))
_JAX_PLUGINS: dict[str, int | None] = {"jax-cuda13-plugin": 13, "jax-cuda12-plugin": 12, **dict.fromkeys(_ROCM)}


# https://github.com/pytorch/pytorch/blob/main/RELEASE.md: by the CUDA of a wheel, the oldest chip that it has code for
_TORCH_CHIPS = (((13, 0), (7, 5)), ((12, 8), (7, 0)), ((0, 0), (5, 0)))


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """What one framework was built for.

    Attributes:
        cuda: The major version of CUDA; None where there is none or it cannot be told.
        no_gpu: Why it cannot use a GPU; empty where it can.
        do: How to get one that can.
        tpu: It is the TensorFlow that drives TPUs.
        oldest: The compute capability of the oldest GPU that it has code for; None where it cannot be told.
    """

    cuda: int | None = None
    no_gpu: str = ""
    do: str = ""
    tpu: bool = False
    oldest: tuple[int, int] | None = None


def build_info(framework: str, find: Find) -> Wheel | None:
    """Read what a framework was built for.

    Args:
        framework: "tensorflow", "jax" or "torch".
        find: How to find a distribution.

    Returns:
        None where it is not installed.
    """
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[framework](find)


def _tensorflow(find: Find) -> Wheel | None:
    do = 'pip install "tensorflow[and-cuda]"'
    if (package := find("tensorflow-tpu")) is not None:
        return Wheel(no_gpu="the package tensorflow-tpu is installed, which has no GPU code", do=do, tpu=True)
    if (package := find("tensorflow")) is None:
        if find("tensorflow-cpu") is None:
            return None
        return Wheel(no_gpu="the package tensorflow-cpu is installed, which has no GPU code", do=do)
    version, folder = package
    text = _text(folder / "tensorflow/python/platform/build_info.py")
    if "'is_cuda_build', False" in text:
        return Wheel(no_gpu=f"tensorflow {version} was built without CUDA", do=do)
    cuda = re.search(r"'cuda_version', '(\d+)", text)
    chips = re.search(r"'cuda_compute_capabilities', \[([^\]]*)\]", text)
    capabilities = [
        (int(number[:-1]), int(number[-1])) for number in re.findall(r"(?:sm|compute)_(\d+)", chips[1] if chips else "")
    ]
    return Wheel(cuda=int(cuda[1]) if cuda else None, oldest=min(capabilities, default=None))


def _jax(find: Find) -> Wheel | None:
    if (package := find("jax")) is None:
        return None
    for plugin, cuda in _JAX_PLUGINS.items():
        if find(plugin) is not None:
            return Wheel(cuda=cuda, oldest={12: (5, 2), 13: (7, 5)}.get(cuda or 0))
    why = f"jax {package[0]} is installed without its CUDA plugin"
    return Wheel(no_gpu=why, do='pip install -U "jax[cuda12]"')


def _torch(find: Find) -> Wheel | None:
    if (package := find("torch")) is None:
        return None
    version, folder = package
    cuda = re.search(r"^cuda\b.*= (?:None|'(\d+)(?:\.(\d+))?)", _text(folder / "torch/version.py"), re.MULTILINE)
    if version.endswith("+cpu"):
        do = "install torch by the command that pytorch.org shows for your CUDA"
        return Wheel(no_gpu=f"torch {version} was built without CUDA", do=do)
    if cuda is None or not cuda[1]:
        return Wheel()
    built = (int(cuda[1]), int(cuda[2] or 0))
    return Wheel(cuda=built[0], oldest=next(chip for since, chip in _TORCH_CHIPS if built >= since))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
