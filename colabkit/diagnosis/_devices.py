"""A GPU or TPU that is there and not used, or promised and not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.accelerator.backends import TITLES, VARIABLE, loaded, touched
from colabkit.accelerator.gpus import held, too_old
from colabkit.accelerator.wheels import built_for
from colabkit.diagnosis.base import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene, Severity


def check(scene: Scene) -> Iterator[Finding]:
    """Compare what the machine has with what the frameworks were built for."""
    kinds = {one.kind for one in scene.runtime.accelerators}
    if "gpu" in kinds:
        yield from _on_a_gpu(scene)
        yield from _hidden(scene)
    if "tpu" in kinds:
        yield from _on_a_tpu(scene)
    if not kinds:
        yield from _missing(scene)


def _on_a_gpu(scene: Scene) -> Iterator[Finding]:
    gpus = [one for one in scene.runtime.accelerators if one.kind == "gpu"]
    backend = _backend(scene)
    for name, title in TITLES.items():
        if (wheel := built_for(name, lambda one: _find(scene, one))) is None:
            continue
        severity: Severity = "problem" if name == backend else "warning"
        if wheel.no_gpu:
            yield Finding(
                severity=severity,
                what=f"there is a GPU ({gpus[0].name}), and {title} cannot use it",
                why=wheel.no_gpu,
                do=f"{wheel.do}, then restart the kernel",
            )
        elif why := too_old(gpus[0], wheel.cuda):
            yield Finding(
                severity=severity,
                what=f"the GPU's driver is too old for {title}",
                why=why,
                do=f"install a newer driver, or a {title} that was built for an older CUDA",
            )
    for gpu in dict.fromkeys(gpus):
        if (what := held(gpu)) and not touched():
            yield Finding(
                severity="warning",
                what=what,
                why="this process uses no GPU yet, and what others hold is missing when it does",
                do="end it: nvidia-smi shows its pid; on Colab see Runtime > Manage sessions",
            )


def _find(scene: Scene, name: str) -> tuple[str, Path] | None:
    found = scene.site.get(name)
    return None if found is None else (found.version, Path(found.folder).parent)


def _hidden(scene: Scene) -> Iterator[Finding]:
    shown = scene.place.env.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return
    have = sum(one.kind == "gpu" for one in scene.runtime.accelerators)
    seen = len([word for word in shown.split(",") if word.strip() not in ("", "-1")])
    if seen < have:
        yield Finding(
            severity="warning",
            what=f"frameworks see {seen} of {have} GPUs",
            why=f"the variable CUDA_VISIBLE_DEVICES is {shown!r}",
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
    looked = scene.runtime.devices.evidence
    if "nvidia-smi failed" in looked:
        yield Finding(
            severity="problem",
            what="the GPU driver does not answer",
            why=looked,
            do="restart the machine (on Colab: Disconnect and delete runtime); on your own, reinstall the driver",
        )
    elif "although" in looked:
        yield Finding(
            severity="problem",
            what="a TPU was promised, and there is none",
            why=looked,
            do="end the session and start a new one; if it happens again, choose another accelerator",
        )
    elif promised := [words for words in scene.runtime.evidence if re.match(r"machine kind (gpu|tpu)", words)]:
        yield Finding(
            severity="problem",
            what="this is a machine with an accelerator, and none is seen",
            why=f"{promised[0]}; {looked}",
            do="disconnect and delete the runtime, then connect again",
        )


def _backend(scene: Scene) -> str:
    """Name the backend that Keras has, or would take."""
    wanted = loaded() or scene.place.env.get(VARIABLE)
    names = [name for name in TITLES if name in scene.site or (name == "tensorflow" and "tensorflow-cpu" in scene.site)]
    return wanted or next(iter(names), "")
