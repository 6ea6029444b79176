"""Random numbers inside the functions of a `tf.data` pipeline, made from seeds that come with the elements.

`tf.image.random_flip_left_right` and its like draw from a generator inside an op, whose state nobody can save. Here
such an op is replaced by the stateless one, and its seed comes from a dataset of random numbers that is zipped with the
elements: the state of that is part of the iterator's.
"""

from __future__ import annotations

from typing import Any

_INT64 = 9
STATEFUL = {
    "RandomUniform": "StatelessRandomUniform",
    "RandomStandardNormal": "StatelessRandomNormal",
    "TruncatedNormal": "StatelessTruncatedNormal",
    "RandomUniformInt": "StatelessRandomUniformInt",
    "RandomShuffle": "",
    "Multinomial": "",
    "RandomGamma": "",
    "RandomPoissonV2": "",
    "RandomPoisson": "",
    "ParameterizedTruncatedNormal": "",
    "SampleDistortedBoundingBoxV2": "",
}
_CALLS = {"PartitionedCall": ("f",), "StatefulPartitionedCall": ("f",)} | dict.fromkeys(
    ("If", "StatelessIf"), ("then_branch", "else_branch")
)
_MAPS = ("MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2")


def make_stateless(graph: Any) -> bool:
    """Replace the random ops of all functions of `map` where that can be done; the graph is changed.

    Args:
        graph: A GraphDef of a pipeline.

    Returns:
        Whether something was replaced.
    """
    functions = {function.signature.name: function for function in graph.library.function}
    nodes = {node.name: node for node in graph.node}
    replaced = False
    for node in list(graph.node):
        if node.op not in _MAPS or not _draws(node.attr["f"].func.name, functions):
            continue
        below = nodes[node.input[0].split(":")[0]]
        types = list(below.attr["output_types"].list.type)
        if not types or not _can(node.attr["f"].func.name, functions):
            continue
        node.attr["f"].func.name = _Rewriter(graph, functions).rewrite(node.attr["f"].func.name, at=len(types))
        node.input[0] = _zip_with_seeds(graph, below, node.name, types)
        replaced = True
    if replaced:
        _drop_unused(graph)
    return replaced


def _called(node: Any) -> list[str]:
    return [node.attr[name].func.name for name in _CALLS.get(node.op, ())]


def _draws(name: str, functions: dict[str, Any]) -> bool:
    return any(
        node.op in STATEFUL or any(_draws(each, functions) for each in _called(node))
        for node in functions[name].node_def
    )


def _can(name: str, functions: dict[str, Any]) -> bool:
    for node in functions[name].node_def:
        if node.op in STATEFUL and not STATEFUL[node.op]:
            return False
        if node.op in ("While", "StatelessWhile", "Case", "StatelessCase") and any(
            _draws(value.func.name, functions) for value in node.attr.values() if value.func.name in functions
        ):
            return False
        if not all(_can(each, functions) for each in _called(node)):
            return False
    return True


class _Rewriter:
    def __init__(self, graph: Any, functions: dict[str, Any]) -> None:
        self._graph = graph
        self._functions = functions
        self._number = 0

    def rewrite(self, name: str, *, at: int | None = None) -> str:
        """Copy a function, with a seed as one argument more: the last, or the one at that place."""
        new = self._graph.library.function.add()
        new.CopyFrom(self._functions[name])
        self._number += 1
        new.signature.name = f"{name}_colabkit_{len(self._graph.library.function)}"
        _insert_argument(new, at if at is not None else len(new.signature.input_arg))
        for node in list(new.node_def):
            if node.op in STATEFUL:
                seed = self._pair(new)
                _replace(node, seed)
            elif any(_draws(each, self._functions) for each in _called(node)):
                self._pass_on(new, node)
        return str(new.signature.name)

    def _pass_on(self, function: Any, node: Any) -> None:
        for attribute in _CALLS[node.op]:
            node.attr[attribute].func.name = self.rewrite(node.attr[attribute].func.name)
        controls = [name for name in node.input if name.startswith("^")]
        plain = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend([*plain, self._shifted(function), *controls])
        node.attr["Tin"].list.type.append(_INT64)

    def _constant(self, function: Any) -> str:
        self._number += 1
        node = function.node_def.add()
        node.name, node.op = f"colabkit_number_{self._number}", "Const"
        node.attr["dtype"].type = _INT64
        node.attr["value"].tensor.dtype = _INT64
        node.attr["value"].tensor.tensor_shape.SetInParent()
        node.attr["value"].tensor.int64_val.append(self._number * 1_000_003)
        return f"{node.name}:output:0"

    def _shifted(self, function: Any) -> str:
        number = self._constant(function)
        node = function.node_def.add()
        node.name, node.op = f"colabkit_shifted_{self._number}", "AddV2"
        node.attr["T"].type = _INT64
        node.input.extend([_SEED, number])
        return f"{node.name}:z:0"

    def _pair(self, function: Any) -> str:
        number = self._constant(function)
        node = function.node_def.add()
        node.name, node.op = f"colabkit_seed_{self._number}", "Pack"
        node.attr["T"].type, node.attr["N"].i, node.attr["axis"].i = _INT64, 2, 0
        node.input.extend([_SEED, number])
        return f"{node.name}:output:0"


_SEED = "colabkit_seed"


def _insert_argument(function: Any, at: int) -> None:
    arguments = list(function.signature.input_arg)
    copies = [type(argument).FromString(argument.SerializeToString()) for argument in arguments]
    del function.signature.input_arg[:]
    function.signature.input_arg.extend(copies[:at])
    seed = function.signature.input_arg.add()
    seed.name, seed.type = _SEED, _INT64
    function.signature.input_arg.extend(copies[at:])
    for kept in (function.arg_attr, function.resource_arg_unique_id):
        message = hasattr(next(iter(kept.values()), None), "SerializeToString")
        shifted = {
            (key + 1 if key >= at else key): (type(value).FromString(value.SerializeToString()) if message else value)
            for key, value in kept.items()
        }
        kept.clear()
        for key, value in shifted.items():
            if message:
                kept[key].CopyFrom(value)
            else:
                kept[key] = value


def _replace(node: Any, seed: str) -> None:
    controls = [name for name in node.input if name.startswith("^")]
    plain = [name for name in node.input if not name.startswith("^")]
    new = STATEFUL[node.op]
    dtype = node.attr["Tout" if node.op == "RandomUniformInt" else "dtype"].type
    shape = node.attr["T"].type
    for name in list(node.attr):
        if not name.startswith("_"):
            del node.attr[name]
    node.attr["Tseed"].type = _INT64
    if new == "StatelessRandomUniformInt":
        node.attr["T"].type, node.attr["dtype"].type = 3, dtype
    else:
        node.attr["dtype"].type, node.attr["T"].type = dtype, shape
    node.op = new
    del node.input[:]
    node.input.extend([plain[0], seed, *plain[1:], *controls])


def _zip_with_seeds(graph: Any, below: Any, name: str, types: list[int]) -> str:
    name = name.replace("/", "_")
    for number in (0, 1):
        seed = graph.node.add()
        seed.name, seed.op = f"colabkit_random_{name}/{number}", "Const"
        seed.attr["dtype"].type = _INT64
        seed.attr["value"].tensor.dtype = _INT64
        seed.attr["value"].tensor.tensor_shape.SetInParent()
        seed.attr["value"].tensor.int64_val.append(0)
    generator = graph.node.add()
    generator.name, generator.op = f"colabkit_generator_{name}", "DummySeedGenerator"
    numbers = graph.node.add()
    numbers.name, numbers.op = f"colabkit_random_{name}", "RandomDatasetV2"
    numbers.input.extend([f"colabkit_random_{name}/0", f"colabkit_random_{name}/1", generator.name])
    numbers.attr["rerandomize_each_iteration"].b = True
    numbers.attr["output_types"].list.type.append(_INT64)
    numbers.attr["output_shapes"].list.shape.add()
    both = graph.node.add()
    both.name, both.op = f"colabkit_zip_{name}", "ZipDataset"
    both.input.extend([below.name, numbers.name])
    both.attr["N"].i = 2
    both.attr["output_types"].list.type.extend([*types, _INT64])
    both.attr["output_shapes"].list.shape.extend(below.attr["output_shapes"].list.shape)
    both.attr["output_shapes"].list.shape.add()
    return str(both.name)


def _drop_unused(graph: Any) -> None:
    """Drop the functions that nobody calls any more: what they draw is no caveat."""
    functions = {function.signature.name: function for function in graph.library.function}
    used: set[str] = set()
    waiting = list(graph.node)
    while waiting:
        node = waiting.pop()
        for value in node.attr.values():
            for name in [value.func.name, *(each.name for each in value.list.func)]:
                if name in functions and name not in used:
                    used.add(name)
                    waiting.extend(functions[name].node_def)
    kept = [function for function in graph.library.function if function.signature.name in used]
    copies = [type(function).FromString(function.SerializeToString()) for function in kept]
    del graph.library.function[:]
    graph.library.function.extend(copies)
