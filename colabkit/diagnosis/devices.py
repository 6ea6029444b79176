"""A GPU or TPU that is there and not used, or promised and not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.accelerator.backends import TITLES, VARIABLE, loaded, touched
from colabkit.accelerator.build_info import build_info
from colabkit.accelerator.gpus import driver_too_old, gpu_processes
from colabkit.diagnosis.base import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.accelerator.build_info import Wheel
    from colabkit.diagnosis.base import Scene, Severity
    from colabkit.runtime.devices import Accelerator


def check(scene: Scene) -> Iterator[Finding]:
    """Compare what the machine has with what the frameworks were built for."""
    kinds = {accelerator.kind for accelerator in scene.runtime.accelerators}
    if "gpu" in kinds:
        yield from _on_a_gpu(scene)
        yield from _hidden(scene)
    if "tpu" in kinds:
        yield from _on_a_tpu(scene)
    if not kinds:
        yield from _missing(scene)


def _on_a_gpu(scene: Scene) -> Iterator[Finding]:
    gpus = [accelerator for accelerator in scene.runtime.accelerators if accelerator.kind == "gpu"]
    backend = _backend(scene)
    for name, title in TITLES.items():
        if (wheel := build_info(name, lambda package: _find(scene, package))) is None:
            continue
        severity: Severity = "problem" if name == backend else "warning"
        if wheel.no_gpu:
            yield Finding(
                severity=severity,
                what=f"there is a GPU ({gpus[0].name}), and {title} cannot use it",
                why=wheel.no_gpu,
                do=f"{wheel.do}, then restart the kernel",
            )
        elif why := driver_too_old(gpus[0], wheel.cuda):
            yield Finding(
                severity=severity,
                what=f"the GPU's driver is too old for {title}",
                why=why,
                do=f"install a newer driver, or a {title} that was built for an older CUDA",
            )
        yield from _chip(gpus[0], title, wheel, severity)
    for gpu in dict.fromkeys(gpus):
        if (what := gpu_processes(gpu)) and not touched():
            yield Finding(
                severity="warning",
                what=what,
                why="this process uses no GPU yet, and what others hold will be missing when it does",
                do="end it: nvidia-smi shows its pid; on Colab see Runtime > Manage sessions",
            )


def _chip(gpu: Accelerator, title: str, wheel: Wheel, severity: Severity) -> Iterator[Finding]:
    have = gpu.compute_capability
    if have is None or wheel.oldest is None or have >= wheel.oldest or wheel.no_gpu:
        return
    yield Finding(
        severity=severity,
        what=f"there is a GPU ({gpu.name}), and {title} has no code for its chip",
        why=f"its compute capability is {have[0]}.{have[1]}, and {title} was built for "
        f'{wheel.oldest[0]}.{wheel.oldest[1]} and newer: the first kernel fails with "no kernel image is available"',
        do=f"choose another accelerator (on Kaggle: GPU T4 x2), or install a {title} that was built for an older CUDA",
    )


def _find(scene: Scene, name: str) -> tuple[str, Path] | None:
    installed = scene.site.get(name)
    return None if installed is None else (installed.version, Path(installed.folder).parent)


def _hidden(scene: Scene) -> Iterator[Finding]:
    visible = scene.place.env.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return
    have = sum(accelerator.kind == "gpu" for accelerator in scene.runtime.accelerators)
    seen = len([word for word in visible.split(",") if word.strip() not in ("", "-1")])
    if seen < have:
        yield Finding(
            severity="warning",
            what=f"frameworks see {seen} of {have} GPUs",
            why=f"the variable CUDA_VISIBLE_DEVICES is {visible!r}",
            do="unset it before a framework is imported, unless that is what you want",
        )


def _on_a_tpu(scene: Scene) -> Iterator[Finding]:
    if "jax" in scene.site and "libtpu" not in scene.site:
        yield Finding(
            severity="problem",
            what="there is a TPU, and JAX cannot use it",
            why="the package libtpu is not installed",
            do='pip install -U "jax[tpu]", then restart the kernel',
        )
    if "tensorflow" not in scene.site:
        yield Finding(
            severity="note",
            what="this TPU runtime has no TensorFlow",
            why="code that imports tensorflow fails here; Keras trains on JAX",
            do=f'set {VARIABLE}=jax before keras is imported, or use colabkit.strategy("tpu")',
        )


def _missing(scene: Scene) -> Iterator[Finding]:
    evidence = scene.runtime.devices.evidence
    if "nvidia-smi failed" in evidence:
        yield Finding(
            severity="problem",
            what="the GPU driver does not answer",
            why=evidence,
            do="restart the machine (on Colab: Disconnect and delete runtime); on your own, reinstall the driver",
        )
    elif "although" in evidence:
        yield Finding(
            severity="problem",
            what="a TPU was promised, and there is none",
            why=evidence,
            do="end the session and start a new one; if it happens again, choose another accelerator",
        )
    elif promised := [words for words in scene.runtime.evidence if re.match(r"machine kind (gpu|tpu)", words)]:
        yield Finding(
            severity="problem",
            what="this is a machine with an accelerator, and none is seen",
            why=f"{promised[0]}; {evidence}",
            do="disconnect and delete the runtime, then connect again",
        )


def _backend(scene: Scene) -> str:
    """Name the backend that Keras has, or would take."""
    chosen = loaded() or scene.place.env.get(VARIABLE)
    names = [name for name in TITLES if name in scene.site or (name == "tensorflow" and "tensorflow-cpu" in scene.site)]
    return chosen or next(iter(names), "")
