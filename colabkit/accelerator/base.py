"""What a strategy is, and the pure choice of one from a runtime and the backends that are there."""

from __future__ import annotations

import contextlib
import importlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from colabkit.accelerator import backends, cluster, determinism
from colabkit.accelerator import gpus as gpu_words
from colabkit.accelerator.backends import TITLES, Backends
from colabkit.accelerator.precision import policy_for
from colabkit.errors import UnknownNameError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from colabkit.runtime.base import Runtime
    from colabkit.runtime.devices import Accelerator

PREFER = ("auto", "cpu", "gpu", "tpu", *TITLES)


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """Where training runs; enter it around the lines that build, compile and fit the model.

    Attributes:
        name: "plain", "OneDeviceStrategy", "MirroredStrategy", "TPUStrategy",
            "MultiWorkerMirroredStrategy" or "DataParallel".
        backend: What Keras computes with: "tensorflow", "jax" or "torch".
        device: "cpu", "gpu" or "tpu".
        replicas: How many devices share a batch, those of all workers together.
        policy: The dtype policy that the scope sets; None where it leaves Keras' own.
        avoids: An accelerator is there and is not to be used.
        reason: Why this one, in one sentence.
        warnings: What could be better, one sentence each.
        workers: How many processes train together.
        worker: Which of them this one is; 0 is the chief, who alone writes checkpoints.
        deterministic: The same run gives the same bits, at the cost of slower kernels.
    """

    name: str
    backend: str
    device: str
    replicas: int
    policy: str | None
    avoids: bool
    reason: str
    warnings: tuple[str, ...] = ()
    workers: int = 1
    worker: int = 0
    deterministic: bool = False
    _entered: list[contextlib.ExitStack] = field(default_factory=list, init=False, repr=False, compare=False)

    def batch_size(self, per_replica: int) -> int:
        """Return the size of a whole batch, from the examples that one device takes."""
        return per_replica * self.replicas

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Make the devices and the dtype policy current; the former ones are back at the end.

        Raises:
            UnsupportedError: Keras was imported with another backend since, or the backend does not see the devices.
        """
        loaded = backends.loaded()
        if loaded is not None and loaded != self.backend:
            raise backends.already_loaded(self.backend, loaded)
        # Left as it is afterwards: Keras reads it at its import, which may come at any line of the scope.
        os.environ[backends.VARIABLE] = self.backend
        with contextlib.ExitStack() as stack:
            if self.deterministic:
                determinism.demand(self.backend)
            if self.device != "cpu" or self.avoids or self.workers > 1:
                stack.enter_context(importlib.import_module(f"colabkit.accelerator._{self.backend}").devices(self))
            if self.workers > 1:
                importlib.import_module("colabkit.accelerator.joined").begin(self)
            if self.policy is not None:
                stack.enter_context(dtype_policy(self.policy))
            yield

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.scope())
            self._entered.append(stack.pop_all())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)


def choose(
    runtime: Runtime,
    found: Backends,
    *,
    prefer: str = "auto",
    mixed_precision: str | bool = "auto",
    deterministic: bool = False,
) -> Strategy:
    """Choose a strategy; nothing is imported and no device touched."""
    if prefer not in PREFER:
        raise UnknownNameError(f"no device or backend named {prefer!r}", do=f"choose one of {', '.join(PREFER)}")
    wanted = prefer if prefer in TITLES else None
    if prefer == "tpu" and found.loaded is None and "jax" in found.installed:
        wanted = "jax"  # the way to a TPU that needs no other TensorFlow
    backend = backends.pick(found, wanted)
    here = _visible(runtime.accelerators, found)
    usable, warnings = _usable(here, found, backend)
    if prefer in ("gpu", "tpu"):
        usable = tuple(one for one in usable if one.kind == prefer)
        if not usable:
            raise _refusal(runtime, prefer, here, warnings)
    elif prefer == "cpu":
        usable, warnings = (), ()
    kind = usable[0].kind if usable else "cpu"
    replicas = max(1, len(usable))
    if backend == "torch" and replicas > 1:
        warnings = (*warnings, f"Keras with PyTorch trains on one of the {replicas} GPUs only")
        usable, replicas = usable[:1], 1
    hidden = sum(one.kind == "gpu" for one in runtime.accelerators) - sum(one.kind == "gpu" for one in here)
    if hidden and kind == "gpu":
        warnings = (*warnings, f"CUDA_VISIBLE_DEVICES hides {hidden} of the GPUs that are there")
    policy, words = policy_for(usable, mixed_precision)
    joined = cluster.current(found.env)
    workers, worker = (joined.count, joined.index) if joined else (1, 0)
    if joined and backend == "torch":
        raise UnsupportedError(
            f"{workers} workers cannot train together on PyTorch",
            why="Keras with PyTorch trains in one process only",
            do="ask for prefer='tensorflow' or prefer='jax'",
        )
    reason = _reason(runtime, prefer, here, usable, f"{TITLES[backend]}{f', {policy}' if policy else ''}")
    if joined:
        reason = f"{workers} workers share each batch, and this is worker {worker}; {reason}"
    return Strategy(
        name=_name(backend, kind, replicas, workers),
        backend=backend,
        device=kind,
        replicas=replicas * workers,
        policy=policy,
        avoids=not usable and bool(here),
        reason=reason,
        warnings=(*warnings, *words),
        workers=workers,
        worker=worker,
        deterministic=deterministic,
    )


def _visible(accelerators: Sequence[Accelerator], found: Backends) -> tuple[Accelerator, ...]:
    shown = found.env.get("CUDA_VISIBLE_DEVICES")
    gpus = [one for one in accelerators if one.kind == "gpu"]
    if shown is not None:
        gpus = gpus[: len([word for word in shown.split(",") if word.strip() not in ("", "-1")])]
    return (*(one for one in accelerators if one.kind == "tpu"), *gpus)


def _usable(
    here: tuple[Accelerator, ...], found: Backends, backend: str
) -> tuple[tuple[Accelerator, ...], tuple[str, ...]]:
    """Say what the backend can use of what is here, one kind only, and what a user should know of the rest."""
    tpus = tuple(one for one in here if one.kind == "tpu")
    gpus = tuple(one for one in here if one.kind == "gpu")
    warnings = []
    if tpus and "tensorflow" not in found.installed:
        warnings.append("this TPU runtime has no TensorFlow, so code that imports tensorflow will fail here")
    wheel = found.wheel(backend) if here else None
    if tpus and (backend == "jax" or (backend == "tensorflow" and wheel is not None and wheel.tpu)):
        return tpus, tuple(warnings)
    if tpus:
        warnings.append(
            f"there is a TPU, but {TITLES[backend]} does not reach it: restart the kernel and ask for prefer='jax'"
        )
    if gpus and wheel is not None and wheel.no_gpu:
        warnings.append(f"there is a GPU, but {TITLES[backend]} cannot use it: {wheel.no_gpu}; {wheel.do}")
        gpus = ()
    for gpu in dict.fromkeys(gpus):
        old, others = gpu_words.too_old(gpu, wheel.cuda if wheel is not None else None), gpu_words.held(gpu)
        if old:
            warnings.append(f"{TITLES[backend]} may not reach the GPU: {old}")
        if others and not found.touched:
            warnings.append(f"{others}: end it, or training may run out of memory")
    return gpus, tuple(warnings)


def _refusal(
    runtime: Runtime, prefer: str, here: tuple[Accelerator, ...], warnings: tuple[str, ...]
) -> UnsupportedError:
    title = prefer.upper()
    if any(one.kind == prefer for one in here):
        why = warnings[-1] if warnings else f"a TPU is there as well, and it is what Keras takes before a {title}"
        return UnsupportedError(f"the {title} cannot be used", why=why, do="mend that, or pass prefer='auto'")
    if any(one.kind == prefer for one in runtime.accelerators):
        why, do = "CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES and restart the kernel"
        return UnsupportedError(f"the {title} cannot be used", why=why, do=do)
    return UnsupportedError(
        f"no {title} was found",
        why=f"we looked, and found: {runtime.devices.evidence}",
        do=f"choose a runtime with a {title}, or pass prefer='auto'",
    )


def _name(backend: str, kind: str, replicas: int, workers: int) -> str:
    if workers > 1:
        return "MultiWorkerMirroredStrategy" if backend == "tensorflow" else "DataParallel"
    if backend == "tensorflow" and kind == "tpu":
        return "TPUStrategy"
    if backend == "tensorflow" and kind == "gpu":
        return "MirroredStrategy" if replicas > 1 else "OneDeviceStrategy"
    return "DataParallel" if replicas > 1 else "plain"


def _reason(
    runtime: Runtime, prefer: str, here: tuple[Accelerator, ...], usable: tuple[Accelerator, ...], how: str
) -> str:
    if usable:
        title = usable[0].kind.upper()
        if len(usable) == 1:
            return f"a {title} was found, so training runs on the {usable[0].name} ({how})"
        return f"{len(usable)} {title}s were found, so they share each batch ({how})"
    if prefer == "cpu":
        why = "the CPU was asked for"
    elif here:
        why = f"the {here[0].kind.upper()} cannot be used"
    elif runtime.accelerators:
        why = "CUDA_VISIBLE_DEVICES hides the GPU"
    else:
        why = "no GPU or TPU was found"
    cores = f"{runtime.cpus:g} core{'' if runtime.cpus == 1 else 's'}"
    return f"{why}, so training runs on the CPU with {cores} ({how})"


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Make a dtype policy current; the former one is back at the end."""
    import keras

    former = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(former)
