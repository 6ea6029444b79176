"""Which dtype policy a chip computes fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.nearest import suggest
from colabkit.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.runtime.devices import Accelerator

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16", "float64")

_AMPERE, _VOLTA = 8, 7
"""NVIDIA's major compute capabilities: the first with bfloat16, and the one with fast float16 (also Turing, T4)."""

# Read where the driver tells no capability. Not "RTX 4000" and "RTX 5000": these are Turing cards, without bfloat16.
_BFLOAT16 = re.compile(r"\b(A100|H100|H200|L4|A10G?|B200)\b|\bRTX [345]0[5-9]0\b")
_FLOAT16 = re.compile(r"\b(T4|V100)\b")


def policy_for(devices: Sequence[Accelerator], requested: str | bool) -> tuple[str | None, tuple[str, ...]]:
    """Return the policy to set, None to leave Keras' own, and what to say about it.

    Example:
        >>> from colabkit.runtime.devices import Accelerator
        >>> policy_for([Accelerator(kind="gpu", name="Tesla T4")], "auto")
        ('mixed_float16', ())
    """
    if requested in (False, "float32"):
        return None, ()
    if requested not in (True, "auto"):
        if requested not in POLICIES:
            raise UnknownNameError(
                f"no dtype policy named {requested!r}", hint=suggest(str(requested), ["auto", "False", *POLICIES])
            )
        if not devices:
            return None, (f"{requested} is left out, as a CPU computes it slower than float32",)
        return str(requested), ()
    policies = {_fast(device) for device in devices}
    # Devices that share a batch compute alike.
    return (policies.pop(), ()) if len(policies) == 1 else (None, ())


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Say whether this CPU multiplies bfloat16 itself; False where that cannot be told.

    It gains with convolutions only, and only on TensorFlow, so no policy follows from it in general.
    """
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="ascii", errors="replace"), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[1].split())


def _fast(device: Accelerator) -> str | None:
    if device.kind == "tpu":
        return "mixed_bfloat16"
    if device.compute_capability is not None:
        major, _ = device.compute_capability
        return "mixed_bfloat16" if major >= _AMPERE else "mixed_float16" if major == _VOLTA else None
    if _BFLOAT16.search(device.name):
        return "mixed_bfloat16"
    return "mixed_float16" if _FLOAT16.search(device.name) else None
