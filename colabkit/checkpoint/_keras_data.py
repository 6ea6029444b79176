"""The training data of a `fit`, continued where a run stopped: what each kind needs, and the table of the kinds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from colabkit._tools.keras_steps import Fit

    Array = np.ndarray[Any, Any]

# Keras' adapter for a kind of data -> where its source is
_SOURCES = {
    "ArrayDataAdapter": "_keras_arrays.Arrays",
    "PyDatasetAdapter": "_keras_pydataset.Batches",
    "TFDatasetAdapter": "_keras_streams.Pipeline",
    "GeneratorDataAdapter": "_keras_streams.Generated",
}


class Source:
    """Training data; this class is data that nothing is known of, which is continued at whole epochs.

    Args:
        fit: The running `fit`, before its first epoch.
        seed: Fixes the order of the samples, where that is ours to decide.
        saved: What `identity` gave when the run was saved; empty in a new run.

    Attributes:
        why_inexact: Why a killed run goes on at the start of its epoch; None when it goes on at any step.
        caveat: Why going on at the step is still not the same bit for bit; None when it is.
        opened: The iterator over the data as it was saved, once restored; None where there is no such thing.
        reopens: Whether the data is opened again when an epoch ends, as Keras does it, and not when one begins.
    """

    reopens = False

    def __init__(self, fit: Fit, *, seed: int, saved: Mapping[str, Any]) -> None:
        self.fit = fit
        self.seed = seed
        self.saved = saved
        self.why_inexact: str | None = None
        self.caveat: str | None = None
        self.opened: Any = None

    def identity(self) -> dict[str, Any]:
        """Tell what identifies the data, as plain values."""
        return {}

    def go_to(self, *, epoch: int, done: int) -> None:
        """Be told that an epoch begins: its number from 0, and its steps that are done."""

    def capture(self, tensors: dict[str, Array]) -> Any:  # noqa: ARG002 - data without a state of its own
        """Take where the data stands, where its own state says so.

        Args:
            tensors: Arrays of it are added here, under names that begin with `data/`.

        Returns:
            What is not an array, as plain values.
        """
        return None

    def restore(self, state: Any, tensors: Mapping[str, Array], *, steps: int, done: int) -> None:
        """Bring the data to where it was.

        Args:
            state: What `capture` returned.
            tensors: What it added, among others.
            steps: Steps trained since the run began.
            done: Those of them in the coming epoch.
        """

    def check(self, run: str, *, in_epoch: bool, check_data: bool) -> None:
        """Refuse other data than the run was trained on.

        Args:
            run: The run's name, for the message.
            in_epoch: Whether the run stopped in the middle of an epoch.
            check_data: Whether other data is refused.

        Raises:
            RunMismatchError: It is other data, or its batches do not fit.
        """
        before, now = self.saved, self.identity()
        if not before.get("fingerprint") or not now.get("fingerprint"):
            return
        if check_data and before["fingerprint"] != now["fingerprint"]:
            raise RunMismatchError(
                f"the run {run} was trained on other data",
                why=f"its {before['samples']} samples have the fingerprint {before['fingerprint']}, the "
                f"{now['samples']} given now {now['fingerprint']}",
                do="pass the same data, open a run under another name, or use run.resume(check_data=False)",
            )
        if in_epoch and before["batch_size"] != now["batch_size"]:
            raise RunMismatchError(
                f"the run {run} stopped in the middle of an epoch, in batches of {before['batch_size']}",
                why=f"batches of {now['batch_size']} do not continue it at the same sample",
                do=f"use batch_size={before['batch_size']}, or open a run under another name",
            )


def source_of(fit: Fit | None, *, seed: int, saved: Mapping[str, Any]) -> Source | None:
    """Recognize the data of a `fit`; None where this version of Keras is unknown to us.

    Args:
        fit: The running `fit`, before its first epoch.
        seed: Fixes the order of the samples in a new run; a begun one keeps its own.
        saved: What `identity` gave when the run was saved; empty in a new run.
    """
    adapter = getattr(fit.iterator, "data_adapter", None) if fit is not None else None
    if fit is None or adapter is None:
        return None
    kind = type(adapter).__name__
    place = _SOURCES.get(kind)
    if place is None:
        found = Source(fit, seed=seed, saved=saved)
        found.why_inexact = f"nothing is known of how to continue data of this kind ({kind.removesuffix('Adapter')})"
        return found
    module, name = place.split(".")
    make = getattr(importlib.import_module(f"colabkit.checkpoint.{module}"), name)
    made: Source = make(fit, seed=int(saved.get("seed", seed)), saved=saved)
    return made
