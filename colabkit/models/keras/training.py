"""Trains a Keras model as `train` was asked to: build, fit in a run, evaluate."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.training_display import TrainingDisplay
from colabkit._internal.log import notify, warn
from colabkit._internal.optional import require
from colabkit._internal.out_of_memory import is_out_of_memory, let_go
from colabkit._internal.phases import Timings
from colabkit._internal.process.quiet import native_stderr_hidden
from colabkit._patches import keras_parts
from colabkit.accelerator.backends import TITLES, VARIABLE
from colabkit.checkpoint.management.history import saved_words
from colabkit.checkpoint.memory_words import out_of_memory
from colabkit.checkpoint.policy.save_triggers import session_left
from colabkit.errors import OutOfMemoryError, UnsupportedError
from colabkit.models import batch_size, datasets, recipes
from colabkit.models.base import HasVariants
from colabkit.models.batch_size import AUTO
from colabkit.models.keras.training_data import class_weights, split_validation
from colabkit.models.results.result import Result
from colabkit.tracking import track

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.checkpoint import Run
    from colabkit.checkpoint.policy.time_limit import TimeLimit
    from colabkit.checkpoint.time_use import TimeUse
    from colabkit.models.base import ImageData, ReferenceModel
    from colabkit.models.recipes import Plan
    from colabkit.models.settings import Settings


def train_keras(
    name: str,
    reference: ReferenceModel,
    settings: Settings,
    *,
    load: Callable[[], ImageData],
    open_run: Callable[[], Run],
) -> Result:
    """Train a Keras model.

    Args:
        name: What it is called.
        reference: The model.
        settings: What the user asked for.
        load: Gives the data; called before the run is opened, so that missing data begins none.
        open_run: Opens the run.
    """
    phases = Timings()
    with phases("data"):
        samples = load()
        samples, validation = split_validation(samples, settings.validation, reference)
    run = open_run()
    begun = recipes.read_begun(run.dir)
    recipes.check_begun(run.dir, begun, model=name, recipe=settings.recipe)
    plan = recipes.plan(
        name,
        reference,
        settings.recipe,
        epochs=settings.epochs,
        batch_size=settings.size,
        begun=begun.backend if begun else None,
    )
    if begun is not None:
        plan = replace(plan, parts=begun.parts)
    if settings.learning_rate is not None:
        plan = replace(plan, learning_rate=settings.learning_rate)
    notify("data: %s, %s training and %s test samples", samples.source, len(samples.x_train), len(samples.x_test))
    notify("strategy: %s", plan.strategy.reason)
    for sentence in plan.strategy.warnings:
        warn("%s", sentence)
    notify("recipe: %s%s", settings.recipe, f", which means {'; '.join(plan.changes)}" if plan.changes else "")
    if plan.faster:
        text = "%s, which is installed, trains this model on a CPU in about half the time: set %s=%s before the start"
        notify(text, TITLES[plan.faster], VARIABLE, plan.faster)
    weights = class_weights(settings.class_weight, samples)
    if isinstance(reference, HasVariants):
        reference.weights_from = settings.weights
        reference.variant = begun.variant if begun is not None else ""
        reference.choose()
    with contextlib.ExitStack() as scope:
        display = scope.enter_context(
            TrainingDisplay(name, epochs=plan.epochs + (settings.fine_tune or 0), session_left=session_left())
        )
        display.status(f"starting {TITLES[plan.strategy.backend]}")
        with phases("build"), native_stderr_hidden():
            scope.enter_context(plan.strategy.scope())  # first: it chooses the backend, which Keras reads at its import
            require("keras", extra="train", why=f"the model {name} is built with it")
            scope.enter_context(recipes.current_policy(plan))
        if settings.batch_size == AUTO:
            with phases("batch size"):
                plan = _with_found_size(plan, reference, settings, samples, begun, display)
        with phases("build"), native_stderr_hidden():
            model = _build(plan, reference, settings, samples=len(samples.x_train))
        begun = _note_begun(run, begun, plan, name, settings, samples, variant=getattr(reference, "variant", ""))
        job = _Job(name, reference, samples, validation, weights, settings, display, settings.limit(run))
        with phases("fit"):
            while True:
                try:
                    fitted = _fit_all(job, plan, run, model)
                    break
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    plan = _in_more_parts(job, plan, run, model, error)
                    del model
                    let_go(error)
                recipes.write_begun(run.dir, replace(begun, parts=plan.parts))
                model = _build(plan, reference, settings, samples=len(samples.x_train))
        metrics = {}
        with phases("evaluate"):
            if len(samples.x_test):
                metrics = model.evaluate(samples.x_test, samples.y_test, verbose=0, return_dict=True)
        if fitted.stopped:
            display.close(fitted.stopped)
            notify("%s: %s; the same line continues from there", name, fitted.stopped)
    return Result(
        name=name,
        model=model,
        history=fitted.history,
        metrics={key: float(value) for key, value in metrics.items()},
        resumed_from=fitted.resumed_from,
        data=samples,
        strategy=plan.strategy.reason,
        recipe=settings.recipe,
        seconds=phases.seconds | {"checkpoints": fitted.saving},
        run_dir=run.dir,
        stopped=fitted.stopped,
        batch_size=plan.batch_size,
        parts=plan.parts,
        time_use=fitted.time_use,
    )


def _build(plan: Plan, reference: ReferenceModel, settings: Settings, *, samples: int) -> Any:
    """Build the model from its seed."""
    import keras

    keras.utils.set_random_seed(settings.seed)
    return recipes.build(plan, reference, samples=samples)


def _with_found_size(
    plan: Plan,
    reference: ReferenceModel,
    settings: Settings,
    samples: ImageData,
    begun: recipes.ResumedRecipe | None,
    display: TrainingDisplay,
) -> Plan:
    """Find the batch size, or take the one that the run was begun with."""
    if plan.strategy.workers > 1:
        raise UnsupportedError(
            'batch_size="auto" is for one machine',
            why="several workers would each find another size",
            hint="pass the size of a batch of all of them",
        )
    if begun is not None:
        size, why = begun.batch_size or reference.BATCH_SIZE, "as the run was begun"
    else:
        display.status("finding the batch size")
        with native_stderr_hidden():
            chosen = batch_size.find_keras(plan, reference, samples, fine_tune=settings.fine_tune is not None)
        size, why = chosen.size, chosen.why
    notify("batch size: %s, %s", size, why)
    return recipes.with_batch_size(plan, size, usual=reference.BATCH_SIZE)


def _note_begun(
    run: Run,
    begun: recipes.ResumedRecipe | None,
    plan: Plan,
    name: str,
    settings: Settings,
    samples: ImageData,
    *,
    variant: str,
) -> recipes.ResumedRecipe:
    """Note how a new run is begun; one that was begun stays as it is noted."""
    if begun is None:
        begun = recipes.ResumedRecipe(
            model=name,
            recipe=settings.recipe,
            backend=plan.strategy.backend,
            variant=variant,
            sample=samples.source == datasets.SAMPLE_SOURCE,
            batch_size=plan.batch_size,
        )
        recipes.write_begun(run.dir, begun)
    return begun


def _in_more_parts(job: _Job, plan: Plan, run: Run, model: Any, error: Exception) -> Plan:
    """Say what happens now that memory is out, and return the plan with each batch in twice as many parts.

    Raises:
        OutOfMemoryError: There is no smaller part.
    """
    parts = plan.parts * 2
    if plan.strategy.replicas > 1:
        raise out_of_memory(run, error, batch_size=plan.batch_size) from error  # they would have to agree on it
    if parts > plan.batch_size:
        raise OutOfMemoryError(
            f"{job.name} does not fit the memory, not even one sample at a time",
            why=str(error).partition("\n")[0][:200],
            hint=f"take a smaller model or smaller samples, or a machine with more memory; {saved_words(run)}",
        ) from error
    notify(
        "%s: out of memory with a batch of %s. From the last saved state on each batch is computed in %s parts, whose "
        "gradients are added up before the weights move, which is the same mathematics",
        job.name,
        plan.batch_size,
        parts,
    )
    for difference in keras_parts.differences(model, weighted=job.class_weight is not None):
        warn("%s: not the same with smaller parts: %s", job.name, difference)
    return replace(plan, parts=parts)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What a fit gave.

    Attributes:
        history: The numbers of its epochs, those of the fit before it included.
        resumed_from: Where it was continued.
        stopped: Why it ended early, in words.
        over: Whether that was for its time.
        saving: Seconds that saving took.
        time_use: Where the time of its steps went.
    """

    history: dict[str, list[float]]
    resumed_from: dict[str, int] | None
    stopped: str
    over: bool
    saving: float
    time_use: TimeUse | None


@dataclass(frozen=True)
class _Job:
    """What all fits of a training share."""

    name: str
    reference: ReferenceModel
    samples: ImageData
    validation: tuple[Any, Any] | None
    class_weight: dict[int, float] | None
    settings: Settings
    display: TrainingDisplay
    limit: TimeLimit | None


def _fit_all(job: _Job, plan: Plan, run: Run, model: Any) -> _Fitted:
    """Fit in the run, and after its head the whole network where that was asked for."""
    fitted = _fit(job, plan, run, model)
    more, reference = job.settings.fine_tune, job.reference
    if more is None or fitted.over or not isinstance(reference, HasVariants):
        return fitted
    if not reference.unfreeze(model, plan.learning_rate):
        return fitted
    notify("fine-tune: the whole network, %s epochs", more)
    return _fit(job, replace(plan, epochs=more), run.phase("fine-tune"), model, before=fitted)


def _fit(job: _Job, plan: Plan, run: Run, model: Any, *, before: _Fitted | None = None) -> _Fitted:
    """Fit in the run, after another fit or as the first one."""
    import keras

    from colabkit.models.keras.callbacks import ShowTraining, StopAtNaN

    samples, settings = job.samples, job.settings
    job.display.saved = lambda: saved_words(run)
    left = None if job.limit is None else max(1e-3, job.limit.ends - time.monotonic())
    resume = run.resume(seed=settings.seed, time=left)
    function = keras.callbacks.LambdaCallback
    own = [one if hasattr(one, "set_model") else function(on_epoch_end=one) for one in settings.callbacks]
    early = None
    if settings.patience is not None:
        watched = "val_loss" if job.validation is not None else "loss"
        early = keras.callbacks.EarlyStopping(watched, patience=settings.patience, restore_best_weights=True)
        own.append(early)
    earlier = before.history if before is not None else {}
    show, tracking = ShowTraining(job.display, earlier), track(run, more=settings.trackers)
    try:
        model.fit(
            samples.x_train,
            samples.y_train,
            batch_size=plan.batch_size,
            epochs=plan.epochs,
            validation_data=job.validation,
            validation_batch_size=max(1, plan.batch_size // plan.parts) if plan.parts > 1 else None,
            class_weight=job.class_weight,
            verbose=0,
            callbacks=[StopAtNaN(settings.learning_rate), show, tracking, *own, resume],
        )
    except BaseException:
        tracking.on_train_end()  # the logs are closed, whatever ended it
        raise
    finally:
        if plan.steps_per_execution:
            model.train_function = None  # the user's next fit is Keras' own
    values = getattr(model.history, "history", {})
    stopped = ""
    if resume.stopped:
        done = len(values.get("loss", []))
        stopped = f"its time is over in epoch {min(done + 1, plan.epochs)} of {plan.epochs}"
        if early is not None and early.best_weights is not None:
            stopped += "; the best weights so far are in the model"
    elif early is not None and early.stopped_epoch:
        stopped = f"no better {early.monitor} for {settings.patience} epochs; the best weights are back"
    return _Fitted(
        history={key: [*earlier.get(key, []), *values.get(key, [])] for key in earlier | values},
        resumed_from=resume.resumed_from or (before.resumed_from if before is not None else None),
        stopped=stopped,
        over=bool(resume.stopped),
        saving=resume.saving + (before.saving if before is not None else 0.0),
        time_use=resume.time_use,
    )
