"""A GPU or TPU that is there and not used, or promised and not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.accelerator.backends import TITLES, VARIABLE, loaded
from colabkit.diagnosis.base import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene
    from colabkit.packages._site import Installed

_GPU_WHEELS = {
    "tensorflow": 'pip install "tensorflow[and-cuda]"',
    "jax": 'pip install -U "jax[cuda12]"',
    "torch": "install torch by the command that pytorch.org shows for your CUDA",
}


def check(scene: Scene) -> Iterator[Finding]:
    """Compare what the machine has with what the frameworks were built for."""
    kinds = {one.kind for one in scene.runtime.accelerators}
    if "gpu" in kinds:
        yield from _without_gpu_code(scene)
        yield from _hidden(scene)
    if "tpu" in kinds:
        yield from _on_a_tpu(scene)
    if not kinds:
        yield from _missing(scene)


def _without_gpu_code(scene: Scene) -> Iterator[Finding]:
    gpu = next(one.name for one in scene.runtime.accelerators if one.kind == "gpu")
    backend = _backend(scene)
    for name, why in _cpu_only(scene):
        yield Finding(
            severity="problem" if name == backend else "warning",
            what=f"there is a GPU ({gpu}), and {TITLES[name]} cannot use it",
            why=why,
            do=f"{_GPU_WHEELS[name]}, then restart the kernel",
        )


def _cpu_only(scene: Scene) -> Iterator[tuple[str, str]]:
    site = scene.site
    tensorflow = site.get("tensorflow")
    if tensorflow is None and "tensorflow-cpu" in site:
        yield "tensorflow", "the package tensorflow-cpu is installed, which has no GPU code"
    elif tensorflow is not None and _says_no_cuda(tensorflow):
        yield "tensorflow", f"tensorflow {tensorflow.version} was built without CUDA"
    if (jax := site.get("jax")) is not None and not any(re.match(r"jax-(cuda|rocm)", one.name) for one in site):
        yield "jax", f"jax {jax.version} is installed without its CUDA plugin"
    if (torch := site.get("torch")) is not None and torch.version.endswith("+cpu"):
        yield "torch", f"torch {torch.version} was built without CUDA"


def _says_no_cuda(tensorflow: Installed) -> bool:
    path = Path(tensorflow.folder).parent / "tensorflow/python/platform/build_info.py"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"'is_cuda_build', False", text) is not None


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
