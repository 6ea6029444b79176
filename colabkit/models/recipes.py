"""How to train a reference model: to the letter of its tutorial, the same but faster, or in a sprint."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from colabkit._internal.disk.files import write_json
from colabkit._internal.nearest import suggest
from colabkit._patches import keras_multi_step, keras_parts
from colabkit.accelerator import strategy
from colabkit.accelerator.backends import VARIABLE, detect_backends
from colabkit.accelerator.base import dtype_policy
from colabkit.accelerator.precision import cpu_has_bfloat16
from colabkit.errors import RunMismatchError, UnknownNameError, UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.accelerator import Strategy
    from colabkit.models.base import ReferenceModel

Recipe = Literal["same", "tutorial", "sprint"]
RECIPES: tuple[str, ...] = get_args(Recipe)

_FILE = "training.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done.

    Attributes:
        recipe: Its name.
        strategy: The devices and the backend.
        epochs: How often to go through the data.
        batch_size: Samples a step.
        steps_per_execution: Most steps that run without returning to Python; None leaves it as the model was compiled.
            Each return costs the wait for the metrics, which of a small model is half the time. PyTorch has none.
        learning_rate: Where the cosine begins; None for the model's own.
        policy: A dtype policy beside the strategy's own; None for none.
        changes: What differs from the tutorial, one phrase each.
        parts: In how many parts each batch is computed, so that it fits the memory.
        faster: A backend that is installed and trains this model on a CPU in about half the time; "" where there is
            none, or where the user or an earlier process has chosen.
    """

    recipe: str
    strategy: Strategy
    epochs: int
    batch_size: int
    steps_per_execution: int | None
    learning_rate: float | None
    policy: str | None
    changes: tuple[str, ...]
    parts: int = 1
    faster: str = ""


def plan(
    name: str, reference: ReferenceModel, recipe: str, *, epochs: int | None, batch_size: int | None, begun: str | None
) -> Plan:
    """Decide how to train; nothing is imported and no device touched.

    Args:
        name: The model's name, for messages.
        reference: The model.
        recipe: One of `RECIPES`.
        epochs: The user's own number, or None.
        batch_size: The user's own number, or None.
        begun: The backend that the run was begun with, or None.

    Raises:
        UnknownNameError: There is no such recipe.
        UnsupportedError: The model has no such recipe.
    """
    check(recipe)
    sprint = reference.SPRINT if recipe == "sprint" else None
    if recipe == "sprint" and sprint is None:
        raise UnsupportedError(
            f"{name} has no recipe 'sprint'",
            why="its batch and learning rate must be tried out for each model",
            hint="use recipe='same', and set the learning rate in the function that builds the model",
        )
    backends = detect_backends()
    is_free = not (backends.loaded or backends.env.get(VARIABLE))
    kept = begun if is_free and begun in backends.installed else None
    chosen = strategy(kept or "auto", mixed_precision="auto" if sprint else False)
    faster = ""
    if is_free and not begun and recipe != "tutorial" and chosen.device == "cpu":
        faster = next((name for name in backends.installed if name == reference.FASTEST_ON_CPU != chosen.backend), "")
    changes = []
    most = reference.STEPS_AT_ONCE if recipe != "tutorial" and chosen.backend != "torch" else None
    if most:
        changes.append(f"up to {most} steps at once, without returning to Python between them")
    epochs = epochs or (sprint.epochs if sprint else reference.EPOCHS)
    batch_size = batch_size or (sprint.batch_size if sprint else reference.BATCH_SIZE)
    policy = None
    if sprint:
        changes += [
            f"{epochs} epochs with batches of {batch_size}",
            f"a learning rate that falls from {sprint.learning_rate} to 0 along a cosine",
        ]
        if sprint.bfloat16_on_cpu and chosen.device == "cpu" and chosen.backend == "tensorflow" and cpu_has_bfloat16():
            policy = "mixed_bfloat16"
        if policy or chosen.policy:
            changes.append(f"the dtype policy {policy or chosen.policy}")
    return Plan(
        recipe=recipe,
        strategy=chosen,
        epochs=epochs,
        batch_size=batch_size,
        steps_per_execution=most,
        learning_rate=sprint.learning_rate if sprint else None,
        policy=policy,
        changes=tuple(changes),
        faster=faster,
    )


def check(recipe: str) -> None:
    """Refuse a recipe that does not exist.

    Raises:
        UnknownNameError: There is no such recipe.
    """
    if recipe not in RECIPES:
        raise UnknownNameError(f"there is no recipe {recipe!r}", hint=suggest(str(recipe), RECIPES))


def with_batch_size(plan: Plan, size: int, *, usual: int) -> Plan:
    """Return the plan with another batch size; so many samples as before run at once.

    Args:
        plan: The plan.
        size: Samples a step.
        usual: The model's own batch size.
    """
    most = plan.steps_per_execution
    return replace(
        plan, batch_size=size, steps_per_execution=None if most is None else max(1, min(most, most * usual // size))
    )


def current_policy(plan: Plan) -> contextlib.AbstractContextManager[None]:
    """Return the scope of the dtype policy that is not the strategy's own."""
    return dtype_policy(plan.policy) if plan.policy else contextlib.nullcontext()


def build(plan: Plan, reference: ReferenceModel, *, samples: int) -> Any:
    """Build and compile the model as planned; keras is imported here.

    Args:
        plan: The plan.
        reference: The model.
        samples: How many there are to train on.
    """
    import keras

    if plan.learning_rate is None:
        model = reference.build()
    elif plan.recipe != "sprint":
        model = reference.build(plan.learning_rate)
    else:
        steps = plan.epochs * -(-samples // plan.batch_size)
        model = reference.build(keras.optimizers.schedules.CosineDecay(plan.learning_rate, steps))
    keras_parts.install(model, plan.parts)
    if plan.steps_per_execution:
        steps = -(-samples // plan.batch_size)
        number = keras_multi_step.choose(steps, plan.steps_per_execution)
        alone = plan.strategy.device == "cpu" and plan.strategy.replicas == 1
        keras_multi_step.install(model, number, steps=steps, backend=plan.strategy.backend if alone else "")
    return model


@dataclass(frozen=True, kw_only=True)
class ResumedRecipe:
    """How a run was begun, so that it is continued alike.

    Attributes:
        model: The model's name.
        recipe: The recipe.
        backend: The backend of Keras.
        sample: It was begun with the sample that ships with colabkit.
        variant: Which of its networks, for a model that has several.
        batch_size: Samples a step; None where an older colabkit began it.
        parts: In how many parts each batch is computed.
    """

    model: str
    recipe: str
    backend: str
    sample: bool = False
    variant: str = ""
    batch_size: int | None = None
    parts: int = 1


def read_begun(folder: Path) -> ResumedRecipe | None:
    """Read how a run was begun; None for a new one, or one that an older colabkit began."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        values = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return ResumedRecipe(
            model=str(values["model"]),
            recipe=str(values["recipe"]),
            backend=str(values["backend"]),
            sample=values.get("sample") is True,
            variant=str(values.get("variant", "")),
            batch_size=_count(values.get("batch_size")),
            parts=_count(values.get("parts")) or 1,
        )
    return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def check_begun(folder: Path, begun: ResumedRecipe | None, *, model: str, recipe: str) -> None:
    """Refuse to continue a run in another way.

    Raises:
        RunMismatchError: It was begun with another model or recipe.
    """
    if begun is None or (begun.model, begun.recipe) == (model, recipe):
        return
    what = f"the model {begun.model}" if begun.model != model else f"the recipe {begun.recipe!r}"
    now = model if begun.model != model else repr(recipe)
    raise RunMismatchError(
        f"the run {folder.name} was begun with {what}",
        why=f"continuing with {now} would be another training",
        hint=f"ask for {what}, or open a run under another name",
    )


def write_begun(folder: Path, begun: ResumedRecipe) -> None:
    """Note how a run is begun."""
    write_json(folder / _FILE, asdict(begun))
