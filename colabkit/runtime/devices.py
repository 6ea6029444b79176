"""Which GPUs and TPUs are there, read from files and from nvidia-smi; no framework is imported, no device is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path

from colabkit._internal.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from colabkit._internal.process.proc import Completed

NVIDIA_SMI_TIMEOUT = 10.0
"""Seconds; it answers in 0.1 s where the driver is loaded and in some seconds where it must be woken."""

_QUERY = "name,memory.total,driver_version,compute_cap,memory.used"
_GIB = 1024**3

_GOOGLE = "0x1ae0"
"""Google's vendor number on the PCI bus."""

_TPU_BY_PCI = {
    "0x0027": "v3",
    "0x005e": "v4",
    "0x0062": "v5p",
    "0x0063": "v5e",
    "0x006f": "v6e",
    "0x0076": "7x",
}
"""PCI device numbers, as in jax._src.hardware_utils; v2 and v3 share one."""

_TPU_MEMORY = {"v2": 16, "v3": 32, "v4": 32, "v5e": 16, "v5p": 95, "v6e": 32, "7x": 192}
"""GiB of one chip, https://cloud.google.com/tpu/docs/system-architecture-tpu-vm."""

_TPU_MARKS = ("COLAB_TPU_1VM", "TPU_ACCELERATOR_TYPE", "TPU_SKIP_MDS_QUERY", "TPU_WORKER_HOSTNAMES")


class Accelerator(Record):
    """One GPU or one TPU chip.

    Attributes:
        kind: "gpu" or "tpu".
        name: What the driver calls it ("Tesla T4"), or "TPU v5e".
        memory: Its own memory in bytes; None where it could not be read.
        driver: The driver's version.
        compute_capability: NVIDIA's (major, minor), which says what the chip can compute fast.
        memory_used: Bytes of its memory that all processes together held when we looked.
    """

    kind: str
    name: str
    memory: int | None = None
    driver: str | None = None
    compute_capability: tuple[int, int] | None = None
    memory_used: int | None = None


class Devices(Record):
    """What was found, and in words where we looked."""

    found: tuple[Accelerator, ...]
    evidence: str


def detect(env: Mapping[str, str], root: Path, run: Callable[..., Completed] | None = None) -> Devices:
    """Find the accelerators of this machine.

    Args:
        env: The environment; its PATH says where nvidia-smi is.
        root: The root folder that holds `dev`, `proc` and `sys`.
        run: What runs nvidia-smi; `colabkit._internal.process.proc.run` when None.
    """
    gpus, gpu_words = _gpus(env, root, run)
    tpus, tpu_words = _tpus(env, root)
    return Devices(found=(*tpus, *gpus), evidence=f"{gpu_words}, {tpu_words}")


def _gpus(
    env: Mapping[str, str], root: Path, run: Callable[..., Completed] | None
) -> tuple[tuple[Accelerator, ...], str]:
    program = _nvidia_smi(env, root)
    nodes = _numbered(root / "dev", "nvidia")
    if program is None:
        words = "nvidia-smi absent"
        return tuple(Accelerator(kind="gpu", name="NVIDIA GPU") for _ in nodes), (
            f"{words}, but /dev/{nodes[0]} is there" if nodes else words
        )
    if run is None:
        from colabkit._internal.process import proc

        run = proc.run
    done = run([program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"], timeout=NVIDIA_SMI_TIMEOUT)
    if not done.ok:
        why = (done.err or done.out).strip().splitlines()
        return (), f"nvidia-smi failed ({why[0] if why else f'exit code {done.code}'})"
    gpus = tuple(gpu for line in done.out.splitlines() if (gpu := parse_gpu(line)) is not None)
    return gpus, f"nvidia-smi lists {len(gpus)}"


def parse_gpu(line: str) -> Accelerator | None:
    """Read one line of nvidia-smi's answer.

    Example:
        >>> parse_gpu("Tesla T4, 15360, 550.54.15, 7.5, 0").compute_capability
        (7, 5)
        >>> parse_gpu("No devices were found") is None
        True
    """
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != len(_QUERY.split(",")):
        return None
    name, total, driver, capability, used = parts
    version = re.fullmatch(r"(\d+)\.(\d+)", capability)
    return Accelerator(
        kind="gpu",
        name=name,
        memory=_bytes(total),
        driver=driver,
        compute_capability=(int(version[1]), int(version[2])) if version else None,
        memory_used=_bytes(used),
    )


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * 1024**2 if mebibytes.isdigit() else None  # "[N/A]" where memory is shared


def _nvidia_smi(env: Mapping[str, str], root: Path) -> str | None:
    # shutil.which would import the compression libraries for the same loop.
    folders = [Path(folder) for folder in env.get("PATH", "").split(os.pathsep) if folder]
    for folder in (*folders, root / "opt/bin", root / "usr/lib64-nvidia", root / "usr/lib/wsl/lib"):
        program = folder / "nvidia-smi"
        if os.access(program, os.X_OK):
            return str(program)
    return None


def _tpus(env: Mapping[str, str], root: Path) -> tuple[tuple[Accelerator, ...], str]:
    marks = [name for name in _TPU_MARKS if env.get(name)]
    # /dev/accel0 is also how other vendors' chips appear, and /dev/vfio any device handed to a guest.
    nodes = _numbered(root / "dev", "accel") or [f"vfio/{node}" for node in _numbered(root / "dev/vfio", "")]
    if not nodes:
        # JAX sets that one itself, on every machine without a TPU
        promised = [name for name in marks if name != "TPU_SKIP_MDS_QUERY"]
        missing = f" although {promised[0]} is set" if promised else ""
        return (), f"no /dev/accel* or /dev/vfio/*{missing}"
    generation = _generation(env.get("TPU_ACCELERATOR_TYPE", "")) or _generation_by_pci(root)
    if not marks and generation is None:
        return (), f"/dev/{nodes[0]} is not a TPU"
    chip = Accelerator(
        kind="tpu",
        name=f"TPU {generation}" if generation else "TPU",
        memory=_TPU_MEMORY[generation] * _GIB if generation in _TPU_MEMORY else None,
    )
    return (chip,) * len(nodes), f"{len(nodes)} TPU chips in /dev"


def _generation(accelerator_type: str) -> str | None:
    """Read "v5litepod-8", "v5e-1", "v6e-4" or "v4-8".

    Example:
        >>> _generation("v5litepod-8"), _generation("v6e-1"), _generation("")
        ('v5e', 'v6e', None)
    """
    word = accelerator_type.partition("-")[0].replace("v5litepod", "v5e").removeprefix("tpu")
    return word or None


def _generation_by_pci(root: Path) -> str | None:
    buses = root / "sys/bus/pci/devices"
    for device in _listed(buses):
        if _word(buses / device / "vendor") == _GOOGLE and (
            generation := _TPU_BY_PCI.get(_word(buses / device / "device"))
        ):
            return generation
    return None


def _numbered(folder: Path, prefix: str) -> list[str]:
    return sorted(name for name in _listed(folder) if re.fullmatch(rf"{prefix}\d+", name))


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
