"""The same bits from the same run, where the backend has slower kernels that promise it."""

from __future__ import annotations

import os

_XLA = "--xla_gpu_deterministic_ops=true"


def demand(backend: str) -> None:
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
        if _XLA not in flags.split():  # read when JAX opens its devices, at the first array
            os.environ["XLA_FLAGS"] = f"{flags} {_XLA}".strip()
    else:
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
