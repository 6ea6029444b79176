"""The variables of a training, made before its first step as that step itself would make them.

On TensorFlow Keras leaves this to the first step. Here the function of the step is traced, which runs nothing and makes
all variables, whatever a `train_step` does. Code that only runs eagerly makes them by a step: in a new run by the first
one, in a continued run by a step whose results are thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from colabkit.checkpoint.keras import state
from colabkit.checkpoint.state import rng
from colabkit.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit._patches.keras_steps import Fit

_RANDOM_OPS = (
    "RandomUniform",
    "RandomStandardNormal",
    "TruncatedNormal",
    "RandomUniformInt",
    "RandomShuffle",
    "Multinomial",
    "RandomGamma",
    "RandomPoissonV2",
    "ParameterizedTruncatedNormal",
)


def build(model: Any, fit: Fit | None) -> bool:
    """Create all variables without a step; says whether that could be done.

    Args:
        model: A compiled model.
        fit: Its running `fit`; None where it was not found.
    """
    if fit is None:
        if model.optimizer is not None and model.built and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        return True
    if getattr(model, "_distribute_strategy", None) is not None and model.optimizer.built:
        return True  # under a strategy of tf.distribute `fit` has built all before it calls its callbacks
    if keras.backend.backend() == "tensorflow":
        if not model.run_eagerly:
            return _trace(model, fit)
        if has_own_step(model):
            return False
    try:
        _symbolic_build(model, fit)
    except Exception:  # noqa: BLE001 - code that runs eagerly only, which works in the first step
        return False
    return True


def build_by_a_step(model: Any, fit: Fit) -> None:
    """Create all variables by one step on a batch of the data; what it changes is put back.

    Args:
        model: A compiled model.
        fit: Its running `fit`, before its first step.

    Raises:
        CheckpointError: The step fails.
    """
    import tensorflow as tf

    known = {id(variable) for _, variable in state.variables(model)}
    before = {name: np.array(value) for name, value in state.capture(model, groups=("",)).items()}
    random_states = rng.capture()
    adapter: Any = fit.iterator.data_adapter
    if first := getattr(adapter, "_first_batches", None):
        batch = first[0]
    elif (dataset := getattr(adapter, "py_dataset", None)) is not None:
        batch = adapter._standardize_batch(dataset[0])
    else:
        batch = next(iter(fit.iterator._distributed_dataset))
    batches = tf.data.Dataset.from_tensors(batch).repeat()
    try:
        model.train_function(iter(batches))
    except Exception as error:
        raise CheckpointError(
            "the training cannot be continued, as its step cannot be made before the first epoch",
            why=f"{type(error).__name__}: {error}",
            hint="where a callback sets what the step uses: set it in __init__ of the model, too; or, where it is set"
            " in on_train_begin, give the run's callback last: callbacks=[…, run.resume()]",
        ) from error
    for name, variable in state.variables(model):
        if id(variable) in known and name in before:
            variable.assign(before[name])
    model.reset_metrics()
    rng.restore(random_states)


def trace_anew(model: Any, fit: Fit | None) -> None:
    """Let the functions of the model be made again: in their graphs stand arrays that are others now."""
    model.test_function = model.predict_function = None
    model.make_train_function(force=True)
    build(model, fit)


def has_own_step(model: Any) -> bool:
    """Tell whether the user has written the training step."""
    return not type(model).train_step.__module__.startswith("keras.")


def drawn_by_tensorflow(model: Any) -> str | None:
    """Name a random op of TensorFlow in the traced step, whose state cannot be saved; None where there is none."""
    function = _traced(model)
    if function is None or not hasattr(function, "_list_all_concrete_functions"):
        return None
    for concrete in function._list_all_concrete_functions():
        graph = concrete.graph.as_graph_def()
        for nodes in [graph.node, *(each.node_def for each in graph.library.function)]:
            for node in nodes:
                if node.op in _RANDOM_OPS:
                    return str(node.op)
    return None


def _trace(model: Any, fit: Fit) -> bool:
    import tensorflow as tf

    function = _traced(model)
    if function is None:
        try:
            _symbolic_build(model, fit)
        except Exception:  # noqa: BLE001 - as above
            return False
        return True
    made: list[tuple[Any, Any]] = []
    try:
        with tf.variable_creator_scope(_remembering(made)):
            function.get_concrete_function(iter(fit.iterator._distributed_dataset))
    except Exception:  # noqa: BLE001 - the first step will raise it again, as without us
        for variable, value in made:
            if not tf.is_symbolic_tensor(value) and not variable.is_initialized():
                variable.assign(value() if callable(value) else value)
        model.make_train_function(force=True)  # of a trace that has failed, TensorFlow keeps a function without results
        return False
    return True


def _remembering(made: list[tuple[Any, Any]]) -> Any:
    """Give what makes the variables of a trace, and notes each with its first value: one that fails leaves it unset."""

    def create(following: Any, **options: Any) -> Any:
        variable = following(**options)
        made.append((variable, options.get("initial_value")))
        return variable

    return create


def _traced(model: Any) -> Any:
    """Find the tf.function in what Keras calls for a step; the outer one of several."""
    function = model.train_function
    if function is None or hasattr(function, "get_concrete_function"):
        return function
    return next(_functions_in(function), None)


def _functions_in(function: Any) -> Iterator[Any]:
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    cells = getattr(function, "__closure__", None) or ()
    functions = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            content = cell.cell_contents
        except ValueError:  # not set yet
            continue
        if hasattr(content, "get_concrete_function"):
            functions[name] = content
    if "multi_step_on_iterator" in functions:
        yield functions["multi_step_on_iterator"]
    yield from functions.values()


def _symbolic_build(model: Any, fit: Fit) -> None:
    adapter: Any = getattr(fit.iterator, "data_adapter", None)
    if first := getattr(adapter, "_first_batches", None):  # a generator: what is read from it here would be lost
        model._symbolic_build(data_batch=first[0])
    elif (dataset := getattr(adapter, "py_dataset", None)) is not None:  # its workers would run ahead, too
        model._symbolic_build(data_batch=adapter._standardize_batch(dataset[0]))
    else:
        model._symbolic_build(iterator=fit.iterator)
        fit.iterator.reset()
