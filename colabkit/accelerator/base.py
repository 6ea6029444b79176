"""What a strategy is, and the pure choice of one from a runtime and the backends that are there."""

from __future__ import annotations

import contextlib
import importlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from colabkit._internal import nearest
from colabkit._internal.display.show import Shown
from colabkit.accelerator import backends, cluster
from colabkit.accelerator import gpus as gpu_words
from colabkit.accelerator.backends import TITLES, Backends
from colabkit.accelerator.precision import policy_for
from colabkit.errors import UnknownNameError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from colabkit._internal.display.show import Facts
    from colabkit.runtime.devices import Accelerator
    from colabkit.runtime.report import Runtime

PREFER = ("auto", "cpu", "gpu", "tpu", *TITLES)

_XLA_DETERMINISM = "--xla_gpu_deterministic_ops=true"


@dataclass(frozen=True, kw_only=True, repr=False)
class Strategy(Shown):
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

    def _facts(self) -> Facts:
        workers = f"worker {self.worker + 1} of {self.workers}" if self.workers > 1 else None
        facts = [("backend", TITLES[self.backend]), ("device", self.device), ("replicas", self.replicas)]
        facts += [("dtype policy", self.policy), ("workers", workers), ("why", self.reason)]
        return f"Strategy {self.name}", [*facts, *(("note", warning) for warning in self.warnings)]

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
                require_determinism(self.backend)
            if self.device != "cpu" or self.avoids or self.workers > 1:
                stack.enter_context(importlib.import_module(f"colabkit.accelerator.{self.backend}").devices(self))
            if self.workers > 1:
                importlib.import_module("colabkit.accelerator.worker_init").init_workers(self)
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
    available: Backends,
    *,
    prefer: str = "auto",
    mixed_precision: str | bool = "auto",
    deterministic: bool = False,
) -> Strategy:
    """Choose a strategy; nothing is imported and no device touched."""
    if prefer not in PREFER:
        raise UnknownNameError(f"no device or backend named {prefer!r}", hint=nearest.suggest(str(prefer), PREFER))
    requested = prefer if prefer in TITLES else None
    if prefer == "tpu" and available.loaded is None and "jax" in available.installed:
        requested = "jax"  # the way to a TPU that needs no other TensorFlow
    backend = backends.pick(available, requested)
    here = _visible(runtime.accelerators, available)
    usable, warnings = _usable(here, available, backend)
    if prefer in ("gpu", "tpu"):
        usable = tuple(device for device in usable if device.kind == prefer)
        if not usable:
            raise _refusal(runtime, prefer, here, warnings)
    elif prefer == "cpu":
        usable, warnings = (), ()
    kind = usable[0].kind if usable else "cpu"
    replicas = max(1, len(usable))
    if backend == "torch" and replicas > 1:
        warnings = (*warnings, f"Keras with PyTorch trains on one of the {replicas} GPUs only")
        usable, replicas = usable[:1], 1
    hidden = sum(device.kind == "gpu" for device in runtime.accelerators) - sum(device.kind == "gpu" for device in here)
    if hidden and kind == "gpu":
        warnings = (*warnings, f"CUDA_VISIBLE_DEVICES hides {hidden} of the GPUs that are there")
    policy, words = policy_for(usable, mixed_precision)
    joined = cluster.current(available.env)
    workers, worker = (joined.count, joined.index) if joined else (1, 0)
    if joined and backend == "torch":
        raise UnsupportedError(
            f"{workers} workers cannot train together on PyTorch",
            why="Keras with PyTorch trains in one process only",
            hint="ask for prefer='tensorflow' or prefer='jax'",
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


def _visible(accelerators: Sequence[Accelerator], available: Backends) -> tuple[Accelerator, ...]:
    visible = available.env.get("CUDA_VISIBLE_DEVICES")
    gpus = [device for device in accelerators if device.kind == "gpu"]
    if visible is not None:
        gpus = gpus[: len([word for word in visible.split(",") if word.strip() not in ("", "-1")])]
    return (*(device for device in accelerators if device.kind == "tpu"), *gpus)


def _usable(
    here: tuple[Accelerator, ...], available: Backends, backend: str
) -> tuple[tuple[Accelerator, ...], tuple[str, ...]]:
    """Say what the backend can use of what is here, one kind only, and what a user should know of the rest."""
    tpus = tuple(device for device in here if device.kind == "tpu")
    gpus = tuple(device for device in here if device.kind == "gpu")
    warnings = []
    if tpus and "tensorflow" not in available.installed:
        warnings.append("this TPU runtime has no TensorFlow, so code that imports tensorflow will fail here")
    wheel = available.wheel(backend) if here else None
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
        old, others = (
            gpu_words.driver_too_old(gpu, wheel.cuda if wheel is not None else None),
            gpu_words.gpu_processes(gpu),
        )
        if old:
            warnings.append(f"{TITLES[backend]} may not reach the GPU: {old}")
        if others and not available.touched:
            warnings.append(f"{others}: end it, or training may run out of memory")
    return gpus, tuple(warnings)


def _refusal(
    runtime: Runtime, prefer: str, here: tuple[Accelerator, ...], warnings: tuple[str, ...]
) -> UnsupportedError:
    title = prefer.upper()
    if any(device.kind == prefer for device in here):
        why = warnings[-1] if warnings else f"a TPU is there as well, and it is what Keras takes before a {title}"
        return UnsupportedError(f"the {title} cannot be used", why=why, hint="fix that, or pass prefer='auto'")
    if any(device.kind == prefer for device in runtime.accelerators):
        why, do = "CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES and restart the kernel"
        return UnsupportedError(f"the {title} cannot be used", why=why, hint=do)
    return UnsupportedError(
        f"no {title} was found",
        why=f"checked: {runtime.devices.evidence}",
        hint=f"choose a runtime with a {title}, or pass prefer='auto'",
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


def require_determinism(backend: str) -> None:
    """Ask a backend for deterministic kernels, for the rest of this process.

    On a CPU TensorFlow and JAX give the same bits anyway, with the same number of threads. Seeds are the user's to set,
    by `keras.utils.set_random_seed`; TensorFlow refuses random operations without one from here on.

    Args:
        backend: "tensorflow", "jax" or "torch".
    """
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        if _XLA_DETERMINISM not in flags.split():  # read when JAX opens its devices, at the first array
            os.environ["XLA_FLAGS"] = f"{flags} {_XLA_DETERMINISM}".strip()
    else:
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
