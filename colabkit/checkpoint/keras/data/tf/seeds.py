"""The seeds in the graph of a `tf.data` pipeline: of its shuffles and random data sets, also those inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras.data.tf.nodes import number_in
from colabkit.checkpoint.keras.data.tf.rows import bare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.checkpoint.keras.data.tf.nodes import GraphNodes

# Where the two seeds of an op are among its inputs, and where its generator of seeds for each pass is.
SEEDS = {"ShuffleDatasetV3": (2, 4), "ShuffleAndRepeatDatasetV2": (2, 5), "RandomDatasetV2": (0, 2)}
_FIXED_SEEDS = {"ShuffleDataset": 2, "ShuffleAndRepeatDataset": 2, "RandomDataset": 0}
_OURS = "colabkit_seed_"


class GraphSeeds:
    """The seeds of one pipeline.

    Args:
        nodes: Of its graph.

    Attributes:
        names: The constants that hold the seeds of each shuffle, two names each, in the graph's order.
        values: The seeds in them.
        fixed: For each of them, whether every pass comes in the same order.
        hidden: Whether shuffles without a seed are inside functions, as of `interleave`.
        any: Whether anything in the pipeline depends on seeds.
    """

    def __init__(self, nodes: GraphNodes) -> None:
        seeded = [node for node in nodes.graph.node if _has_seeds(node)]
        inner = [
            (function, node)
            for function in nodes.graph.library.function
            for node in function.node_def
            if _has_seeds(node)
        ]
        self.names = [_inputs(node) for node in seeded]
        self.values = [[nodes.value(name) for name in names] for names in self.names]
        self.fixed = [_is_fixed(node) for node in seeded]
        self.hidden = any(_inner_seeds(function, node) == [0, 0] for function, node in inner)
        self.any = bool(seeded or inner)

    def write(self, graph: Any, seeds: Sequence[Sequence[int]], inner: int) -> None:
        """Put other seeds into a graph, or a part of it.

        Args:
            graph: The GraphDef.
            seeds: As `values`.
            inner: The seed of shuffles inside functions that have none.
        """
        import tensorflow as tf

        nodes = {node.name: node for node in graph.node}
        for names, pair in zip(self.names, seeds, strict=True):
            for name, seed in zip(names, pair, strict=True):
                if name in nodes:
                    nodes[name].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(seed, tf.int64, ()))
        if self.hidden:
            _write_inside(graph, inner & ((1 << 62) - 1))


def _write_inside(graph: Any, inner: int) -> None:
    import tensorflow as tf

    for function in graph.library.function:
        nodes = {node.name: node for node in function.node_def}
        for node in function.node_def:
            if _has_seeds(node) and _inner_seeds(function, node) == [0, 0]:
                for number, name in enumerate(_inputs(node)):
                    own = function.node_def.add()
                    own.CopyFrom(nodes[name])
                    own.name = f"{_OURS}{number}_{node.name}"
                    node.input[_place(node) + number] = f"{own.name}:output:0"
        for node in function.node_def:
            if node.name.startswith(_OURS):
                seed = inner + int(node.name[len(_OURS)])
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(seed, tf.int64, ()))


def _has_seeds(node: Any) -> bool:
    return node.op in SEEDS or node.op in _FIXED_SEEDS


def _is_fixed(node: Any) -> bool:
    for attribute in ("reshuffle_each_iteration", "rerandomize_each_iteration"):
        if attribute in node.attr:
            return not bool(node.attr[attribute].b)
    return node.op not in SEEDS


def _place(node: Any) -> int:
    return SEEDS[node.op][0] if node.op in SEEDS else _FIXED_SEEDS[node.op]


def _inputs(node: Any) -> list[str]:
    at = _place(node)
    return [bare(name) for name in node.input[at : at + 2]]


def _inner_seeds(function: Any, node: Any) -> list[int]:
    nodes = {each.name: each for each in function.node_def}
    constants = [nodes.get(name) for name in _inputs(node)]
    return [number_in(each) if each is not None and each.op == "Const" else -1 for each in constants]
