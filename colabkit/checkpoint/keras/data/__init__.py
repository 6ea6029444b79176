"""The training data of a `fit`, continued where a run stopped: what each kind needs, and the table of the kinds."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import warn
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from colabkit._patches.keras_steps import Fit

    Array = np.ndarray[Any, Any]

# Keras' adapter for a kind of data -> where its source is
_SOURCES = {
    "ArrayDataAdapter": "arrays.ArrayData",
    "PyDatasetAdapter": "pydataset.Batches",
    "TFDatasetAdapter": "tf.pipeline.TfDataPipeline",
    "GeneratorDataAdapter": "streams.GeneratorData",
    "TorchDataLoaderAdapter": "loader.LoaderData",
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
        kind: What the data is, in words.
        is_a_stream: Whether nobody can say where it stands after an error while it was read.
        draws_ahead: Whether layers in it have drawn for batches that no step has seen, once restored.
    """

    reopens = False
    is_a_stream = False
    draws_ahead = False
    kind = ""

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

    def closing(self) -> None:
        """Be told that what is open is read to its end."""

    def capture(self, tensors: dict[str, Array], *, steps: int = 0) -> Any:  # noqa: ARG002 - data without a state of its own
        """Take where the data stands, where its own state says so.

        Args:
            tensors: Arrays of it are added here, under names that begin with `data/`.
            steps: Steps trained since the run began.

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

    def take_over(self, run: str, tensors: Mapping[str, Array]) -> None:
        """Take over from a saved state what makes the data the same as then, before it is checked.

        Args:
            run: The run's name, for messages.
            tensors: What `capture` added, among others.
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
        was = before.get("kind") or ("arrays" if "samples" in before else "")
        if was and was != now.get("kind") and in_epoch:
            raise RunMismatchError(
                f"the run {run} stopped in the middle of an epoch on {was}",
                why=f"{now.get('kind') or 'other data'} does not continue it at the same sample",
                hint=f'pass {was} again, start the epoch over with run.resume(at="epoch"), or open another run',
            )
        if was and was != now.get("kind"):
            warn(
                "%s: the data was %s and is %s now; there is no telling whether it is the same",
                run,
                was,
                now.get("kind"),
            )
            return
        if not before.get("fingerprint") or not now.get("fingerprint"):
            return
        if check_data and before["fingerprint"] != now["fingerprint"]:
            of = [f"{each['samples']} samples, " if "samples" in each else "" for each in (before, now)]
            raise RunMismatchError(
                f"the run {run} was trained on other data",
                why=f"its data ({of[0]}fingerprint {before['fingerprint']}) is not the data given now "
                f"({of[1]}fingerprint {now['fingerprint']})",
                hint="pass the same data; if it is made of random numbers, give them a seed: "
                "np.random.default_rng(0).random(...). Other data is a training of its own: "
                'run.phase("NAME").resume(), or another run. run.resume(check_data=False) trains on with it',
            )

    def adapt(self, done: int) -> int:
        """Go on at the next sample where the batches have another size than in the epoch that was begun.

        Args:
            done: Steps of the epoch that are done, in batches of the run.

        Returns:
            The steps in batches of now after which it goes on.
        """
        before, now = self.saved.get("batch_size"), self.identity().get("batch_size")
        if not done or not before or not now or before == now:
            return done
        return self.go_on_after(int(before) * done + int(self.saved.get("shift", 0)))

    def go_on_after(self, samples: int) -> int:
        """Say after how many steps of now the epoch goes on when so many samples of it are done."""
        return samples // int(self.identity()["batch_size"])


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
        source = Source(fit, seed=seed, saved=saved)
        source.why_inexact = f"nothing is known of how to continue data of this kind ({kind.removesuffix('Adapter')})"
        return source
    module, _, name = place.rpartition(".")
    make = getattr(importlib.import_module(f"colabkit.checkpoint.keras.data.{module}"), name)
    made: Source = make(fit, seed=int(saved.get("seed", seed)), saved=saved)
    return made
