"""Train on the best device that is there, and say why it was chosen: `strategy()`."""

from __future__ import annotations

from colabkit.accelerator import backends
from colabkit.accelerator.base import Strategy, choose
from colabkit.runtime import detect

__all__ = ["Strategy", "strategy"]


def strategy(prefer: str = "auto", *, mixed_precision: str | bool = "auto", deterministic: bool = False) -> Strategy:
    """Choose the devices to train on; nothing is imported and no device touched before `.scope()` is entered.

    Args:
        prefer: "auto", a device ("cpu", "gpu", "tpu") or a backend of Keras ("tensorflow", "jax", "torch").
        mixed_precision: "auto" where the chip computes it fast, False for never, or the name of a Keras policy.
        deterministic: Ask the backend for kernels that give the same bits each time; some are slower.

    Returns:
        The strategy: enter it, or its `.scope()`, around the lines that build, compile and fit
        the model.

    Raises:
        UnsupportedError: What was asked for is not here, or Keras already runs on another backend.
        ClusterConfigError: `TF_CONFIG` or its like names other workers, and cannot be read.
        MissingDependencyError: No backend of Keras is installed.
        UnknownNameError: `prefer` or `mixed_precision` is none of the known words.

    Example:
        >>> chosen = strategy("cpu")
        >>> chosen.name, chosen.replicas, chosen.batch_size(64)
        ('plain', 1, 64)
    """
    return choose(
        detect(),
        backends.detect_backends(),
        prefer=prefer,
        mixed_precision=mixed_precision,
        deterministic=deterministic,
    )
