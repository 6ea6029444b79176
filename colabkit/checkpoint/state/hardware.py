"""What a training's last bits depend on besides its code and versions: the processor, its threads, the accelerators.

Frameworks cut a sum into as many parts as they have threads, and in the widths of the processor's vectors, and round
each part: two cores and eight, AVX2 and AVX-512, a T4 and an L4 end in other bits. With as many threads as before, a
training on the same kind of processor is the same again, however many cores there are.

Source:
    https://docs.pytorch.org/docs/stable/notes/numerical_accuracy.html
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY = "hardware"
"""Where the metadata of a state keeps it."""
_VECTORS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2", "avx", "sse4_2")
# Variables that choose other instructions or roundings: https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html
_ARITHMETIC = (
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "MKL_CBWR",
    "NVIDIA_TF32_OVERRIDE",
    "JAX_ENABLE_X64",
    "JAX_DEFAULT_MATMUL_PRECISION",
)
_SAME_THREADS = {
    "torch": "torch.set_num_threads({0})",
    "tensorflow": "tf.config.threading.set_intra_op_parallelism_threads({0}) before the first operation",
    "jax": 'os.environ["NPROC"] = "{0}" before JAX is imported',
}


def take() -> dict[str, str]:
    """Name the processor, the accelerators, the threads of each framework that is loaded, what sets its arithmetic."""
    settings = {name: os.environ[name] for name in _ARITHMETIC if os.environ.get(name)}
    threads = {f"{name} threads": str(count) for name in _SAME_THREADS if (count := _threads(name))}
    return {"processor": _processor(), "accelerators": _accelerators(), **settings, **threads}


def tell(run: str, meta: Mapping[str, Any], *, frameworks: Iterable[str] = tuple(_SAME_THREADS)) -> None:
    """Say before a training goes on that the hardware is other hardware, so that its last bits may be others.

    Args:
        run: The run's name.
        meta: The metadata of the state that it goes on from.
        frameworks: Those that compute.
    """
    before = meta.get(KEY)
    if not (before and isinstance(before, dict)):  # a state of an older version
        return
    before, now = ({**dict.fromkeys(_ARITHMETIC, "unset"), **each} for each in (before, take()))
    threads = {f"{name} threads": _SAME_THREADS[name] for name in frameworks}
    names = ("processor", "accelerators", *_ARITHMETIC, *threads)
    changed = [name for name in names if before.get(name, now.get(name)) != now.get(name)]
    if not changed:
        return
    words = "; ".join(f"{name} {before[name]} -> {now.get(name, 'none')}" for name in changed)
    ways = " or ".join(threads[name].format(before[name]) for name in changed if name in threads)
    text = "%s: the hardware changed, so bit-for-bit equality is not promised: %s%s"
    warn(text, run, words, ways and f". As many threads give the same bits on the same processor: {ways}")


def frameworks_of(values: Iterable[Any]) -> list[str]:
    """Name the frameworks whose objects are among some; all, where none is."""
    roots = {kind.__module__.split(".")[0].removesuffix("lib") for value in values for kind in type(value).__mro__}
    if "keras" in roots:
        roots.add(sys.modules["keras"].backend.backend())
    return [name for name in _SAME_THREADS if name in roots] or list(_SAME_THREADS)


def _threads(framework: str) -> int:
    """Count the threads that one operation of a framework is shared out to; 0 where it is not loaded."""
    module: Any = sys.modules.get(framework)
    if not hasattr(module, "__version__"):
        return 0
    if framework == "torch":
        return int(module.get_num_threads())
    set_by_hand = module.config.threading.get_intra_op_parallelism_threads() if framework == "tensorflow" else 0
    if framework == "jax" and (text := os.environ.get("NPROC", "")).isdigit():
        set_by_hand = int(text)
    # What both take where nobody says otherwise: the cores that this process may use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(set_by_hand) or cores


@functools.cache
def _processor() -> str:
    """Name the processor and the widest of its vectors, as Linux tells them."""
    try:
        fields = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    except (OSError, ValueError):
        fields = {}
    flags = fields.get("flags", "").split()
    vectors = next((flag for flag in _VECTORS if flag in flags), "")
    return " ".join(filter(None, (fields.get("model name") or platform.processor() or platform.machine(), vectors)))


@functools.cache
def _accelerators() -> str:
    """Name the GPUs, as NVIDIA's driver tells them, and count TPUs; no device is opened."""
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            names += re.findall(r"^Model:\s*(.+?)\s*$", file.read_text(), re.MULTILINE)
        except (OSError, ValueError):
            continue
    names = names or ["NVIDIA GPU"] * len(list(Path("/dev").glob("nvidia[0-9]*")))
    names += ["TPU"] * len(list(Path("/dev").glob("accel[0-9]*")))
    return ", ".join(names) or "none"
