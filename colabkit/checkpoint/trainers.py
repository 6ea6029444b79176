"""The verbs of a run that train: `run.resume()` and `run.fit()` for Keras, a loop of one's own, other trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

from colabkit._internal.log import prepare
from colabkit._internal.optional import require
from colabkit._internal.out_of_memory import is_out_of_memory
from colabkit.checkpoint.memory_words import out_of_memory
from colabkit.checkpoint.policy.time_limit import sooner
from colabkit.checkpoint.run_store import RunStore
from colabkit.errors import AddressError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint.loop.loop import Loop

Verb = TypeVar("Verb", bound="Callable[..., Any]")


def _with_brackets(verb: Verb) -> Verb:
    """Let a verb refuse to be a callback where its brackets were forgotten: Keras calls one of these first."""

    def refuse(*_: Any) -> None:
        raise UnsupportedError(
            f"run.{verb.__name__} is no callback of Keras yet",
            why="it makes one when it is called, and the brackets are missing",
            hint=f"write them: fit(..., callbacks=[run.{verb.__name__}()])",
        )

    # Without `async_safe` Keras would look for more methods before it calls the first one.
    verb.__dict__.update(set_params=refuse, set_model=refuse, async_safe=True)
    return verb


class Trainers(RunStore):
    """The verbs of a run for each trainer; what they need is imported when they are called."""

    # ---- Keras ----

    def set_params(self, params: Any) -> None:  # noqa: ARG002 - the contract of a callback
        """Refuse to be a callback itself: Keras calls this first, and would end with an AttributeError."""
        raise UnsupportedError(
            "a run is not a callback of Keras", hint="pass what it makes: fit(..., callbacks=[run.resume()])"
        )

    set_model = set_params

    @_with_brackets
    def resume(
        self,
        *,
        seed: int | None = None,
        check_data: bool = True,
        best: str | tuple[str, str] | None = None,
        at: Literal["step", "epoch"] = "step",
        time: str | float | None = None,
    ) -> Any:
        """Make a Keras callback that saves as training goes and continues where the run stopped.

        Arrays, `keras.utils.PyDataset` and most of `tf.data` continue at the exact step, with the same result, bit for
        bit, as without the interruption. The callback says when that cannot be had.

        Args:
            seed: Fixes the order of the samples in a new run. When None it follows from the state of Python's `random`,
                which `keras.utils.set_random_seed` sets. A begun run keeps its own.
            check_data: Refuse other data than the run was trained on.
            best: A metric of the epochs, as `"val_loss"`, or `("reward", "max")` where its name does not tell what is
                good. The best state stays, however old it is, and `load_best` brings it back.
            at: Where to go on: at the newest step, or at the newest end of an epoch, which forgets what was trained
                after it.
            time: How long it may take from now on, as for `open_run`; the callback's `stopped` says so where it ended.

        Returns:
            A `keras.callbacks.Callback` for one call of `fit`.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            model.fit(x, y, epochs=10, callbacks=[run.resume()])
            ```
        """
        if at not in ("step", "epoch"):
            raise AddressError(f"at={at!r} is not a place to continue at", hint='write at="step" or at="epoch"')
        from colabkit.checkpoint.keras import make_callback

        return make_callback(self, seed=seed, check_data=check_data, exact=False, best=best, at=at, time=time)

    def fit(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        *,
        seed: int | None = None,
        best: str | tuple[str, str] | None = None,
        time: str | float | None = None,
        **options: Any,
    ) -> Any:
        """Train a compiled Keras model, resumable at the exact step.

        Args:
            model: A compiled `keras.Model`.
            x: Inputs, as for `model.fit`.
            y: Targets, as for `model.fit`.
            seed: Fixes the order of the samples in a new run, as for `resume`.
            best: By which metric the best state is kept, as for `resume`.
            time: How long it may take, as for `resume`.
            options: Everything else that `model.fit` takes.

        Returns:
            The `History` of the whole run, earlier processes included.

        Raises:
            UnsupportedError: The data cannot be continued exactly; the message says why.
            OutOfMemoryError: It does not fit the memory; the message says which state is saved, and what to do.
        """
        from colabkit.checkpoint.keras import make_callback

        own = make_callback(self, seed=seed, check_data=True, exact=True, best=best, time=time)
        callbacks = [*(options.pop("callbacks", None) or []), own]
        try:
            return model.fit(x, y, callbacks=callbacks, **options)
        except Exception as error:
            if is_out_of_memory(error):
                raise out_of_memory(self, error, batch_size=options.get("batch_size")) from error
            raise

    def load_best(self, model: Any) -> dict[str, Any]:
        """Give a Keras model or a torch module the weights of the best state, which `best=...` keeps.

        Args:
            model: The model, built as it was trained.

        Returns:
            What made it the best: its `metric`, `mode`, `value`, `step` and `epoch`.

        Raises:
            CheckpointError: The run keeps no best state, or it cannot be read.
            RunMismatchError: It belongs to another model.
        """
        if hasattr(model, "named_parameters") and not hasattr(model, "trainable_variables"):
            from colabkit.checkpoint.loop import best as torch_best

            return torch_best.load(self, model)
        require("keras", extra="train", why="run.load_best() gives weights to Keras models and torch modules")
        from colabkit.checkpoint.keras import best as keras_best

        return keras_best.load(self, model)

    # ---- a loop of your own ----

    def loop(
        self,
        data: Any,
        *,
        epochs: int = 1,
        best: str | tuple[str, str] | None = None,
        check_data: bool = True,
        time: str | float | None = None,
        **state: Any,
    ) -> Loop:
        """Give the batches of a training loop of your own, which goes on at the exact step where it was killed.

        Args:
            data: A DataLoader of torch, or anything that gives the batches of an epoch when it is iterated over: a
                list, a dataset, a function that returns one of these.
            epochs: How many, counted for the whole run.
            best: By which of the logged metrics the best state is kept, as for `resume`.
            check_data: Refuse other data than the run was trained on.
            time: How long it may take from now on, as for `open_run`; then the loop ends, and its `stopped` says so.
            state: What is trained and belongs to it, each by a name: modules, optimizers, schedulers, scalers, whatever
                has `state_dict` and `load_state_dict`; Keras models and optimizers; modules of flax.nnx; estimators of
                scikit-learn; random generators; dicts and lists of arrays, plain values and any of these, which are
                changed in place. Python's, NumPy's and torch's own random states need not be given.

        Returns:
            The loop: `for batch in loop`, or `for epoch in loop.each_epoch()` around it. It has `epoch`, `step`,
            `resumed_from` and `log(loss=…)`.

        Raises:
            AddressError: `epochs` or `best` is not valid.
            CheckpointError: A part of the state cannot be put back in place; the message says how it could.
            DataError: The data gives no batches.

        Example:
            >>> import tempfile
            >>> from colabkit.checkpoint import open_run
            >>> run, state = open_run(tempfile.mkdtemp()), {"total": 0}
            >>> for number in run.loop([1, 2, 3], epochs=2, state=state):
            ...     state["total"] += number
            >>> state
            {'total': 12}
        """
        from colabkit.checkpoint.loop import make_loop

        limit = sooner(time, self.limit)
        return make_loop(self, data, epochs=epochs, best=best, check_data=check_data, state=state, limit=limit)

    # ---- trainers of others ----

    def resume_fastai(self, *, check_data: bool = True) -> Any:
        """Make a fastai callback that saves as a learner trains and continues where the run stopped.

        It continues at the exact step, on a CPU with the same result, bit for bit, as without the interruption.

        Args:
            check_data: Refuse other data than the run was trained on.

        Returns:
            A callback for one call of `fit`, `fit_one_cycle` and their like, or of `fine_tune`.

        Raises:
            MissingDependencyError: fastai is not installed.
            UnsupportedError: The installed fastai and fastcore do not work together.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            learn.fit_one_cycle(5, 3e-3, cbs=run.resume_fastai())
            ```
        """
        from colabkit.checkpoint.fastai.install_check import make_callback

        prepare()
        return make_callback(self, check_data=check_data)

    def resume_transformers(self, *, best: str | tuple[str, str] | None = None, check_data: bool = True) -> Any:
        """Make a callback for the Trainer of transformers, and TRL's SFTTrainer, that saves and continues exactly.

        Of a model with adapters (PEFT) the adapters travel, not the frozen base.

        Args:
            best: By which metric of the evaluations the best state is kept, as `"eval_loss"`; `load_best` brings it
                back.
            check_data: Refuse other data than the run was trained on.

        Returns:
            A callback for one Trainer, whose `train()` is called without `resume_from_checkpoint`.

        Raises:
            MissingDependencyError: transformers or accelerate is not installed.
            UnsupportedError: This version of transformers has another loop.

        Example:
            ```python
            run = ck.open_run("./runs/tuned")
            trainer = Trainer(model, args, train_dataset=data, callbacks=[run.resume_transformers()])
            trainer.train()
            ```
        """
        from colabkit.checkpoint.transformers import make_callback

        return make_callback(self, best=best, check_data=check_data)

    def resume_lightning(self, *, best: str | tuple[str, str] | None = None, check_data: bool = True) -> Any:
        """Make a callback for a Trainer of Lightning that saves as it trains and continues at the exact batch.

        Args:
            best: By which logged metric the best state is kept, as `"val_loss"`; `load_best` brings it back.
            check_data: Refuse other data than the run was trained on.

        Returns:
            A callback for one Trainer, whose `fit` is called without `ckpt_path`.

        Raises:
            MissingDependencyError: Lightning is not installed.
            UnsupportedError: It is older than version 2.

        Example:
            ```python
            run = ck.open_run("./runs/digits")
            L.Trainer(max_epochs=5, callbacks=[run.resume_lightning()]).fit(model, loader)
            ```
        """
        from colabkit.checkpoint.lightning import make_callback

        return make_callback(self, best=best, check_data=check_data)
