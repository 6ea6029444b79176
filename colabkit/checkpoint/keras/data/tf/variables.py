"""The user's variables that the functions of a `tf.data` pipeline read or change, as the seeds of random layers.

The graph of a pipeline holds a copy of each, with the value that it had. Where the variable itself is known it is used
instead, so that what a callback assigns to it counts, as it does without us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator


def links(dataset: Any, graph: Any) -> dict[str, Any]:
    """Find the handle of the user's variable for each variable of the graph; those that are not found are left out.

    Args:
        dataset: The pipeline.
        graph: Its GraphDef, as TensorFlow has written it.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    kept = {node.input[0]: nodes[node.input[1]] for node in graph.node if node.op == "AssignVariableOp"}
    captured = {name: [each for each in given if _is_variable(each)] for name, given in _captured(dataset, set())}
    variables: dict[str, Any] = {}
    for node in graph.node:
        names = [value.func.name for value in node.attr.values() if value.func.name in captured]
        there = [name for name in (_variable_of(each, nodes) for each in node.input) if name is not None]
        given = [captured[name] for name in names if captured[name]]
        handles = given[0] if len(given) == 1 else []  # of several functions nobody knows which comes first
        if len(there) != len(handles):
            continue
        for name, handle in zip(there, handles, strict=True):
            value = kept.get(name)
            if value is not None and value.op == "Const":
                now = _read(handle)
                before = tf.make_ndarray(value.attr["value"].tensor)
                if now.dtype == before.dtype and now.shape == before.shape and np.array_equal(now, before):
                    variables[name] = handle
    return variables


def _captured(dataset: Any, seen: set[int]) -> Iterator[tuple[str, list[Any]]]:
    """Go through the functions of a pipeline, by their names in its graph, with what they have captured."""
    if id(dataset) in seen:
        return
    seen.add(id(dataset))
    for below in dataset._inputs():
        yield from _captured(below, seen)
    for function in dataset._functions():
        name = function.function.name
        yield name.decode() if isinstance(name, bytes) else name, list(function.function.captured_inputs)


def _variable_of(name: str, nodes: dict[str, Any]) -> str | None:
    node = nodes.get(name.lstrip("^").split(":", 1)[0])
    while node is not None and node.op == "Identity":
        node = nodes.get(node.input[0].split(":", 1)[0])
    return node.name if node is not None and node.op == "VarHandleOp" else None


def _is_variable(tensor: Any) -> bool:
    import tensorflow as tf

    return tensor.dtype == tf.resource and bool(getattr(tensor, "_handle_data", None)) and _read(tensor) is not None


def _read(handle: Any) -> Any:
    """Read what a variable holds; None for a resource of another kind."""
    import tensorflow as tf

    try:
        dtype = handle._handle_data.shape_and_type[0].dtype
        return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy()
    except (tf.errors.OpError, AttributeError, IndexError, TypeError, ValueError):
        return None


def leave_alone(graph: Any, name: str) -> None:
    """Let the graph not assign to a variable when it is built: the user's has its own value."""
    assigned = {f"^{node.name}" for node in graph.node if node.op == "AssignVariableOp" and node.input[0] == name}
    for node in graph.node:
        for at in reversed([at for at, each in enumerate(node.input) if each in assigned]):
            del node.input[at]
