"""The nodes of a graph, by their names, and what stands in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras.data.tf.rows import bare

if TYPE_CHECKING:
    from collections.abc import Iterator


class GraphNodes:
    """A GraphDef, with its nodes by name.

    Args:
        graph: The GraphDef.
    """

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.by_name = {node.name: node for node in graph.node}

    def of(self, name: str) -> Any:
        """Return the node that an input names; None where it is none of these."""
        return self.by_name.get(bare(name))

    def all(self) -> Iterator[Any]:
        """Give every node, those of functions too."""
        yield from self.graph.node
        for function in self.graph.library.function:
            yield from function.node_def

    def is_const(self, name: str) -> bool:
        """Say whether an input is a constant."""
        node = self.of(name)
        return node is not None and node.op == "Const"

    def value(self, name: str) -> int:
        """Return the number in a constant."""
        return number_in(self.by_name[bare(name)])


def number_in(node: Any) -> int:
    """Return the number in the node of a constant."""
    from tensorflow import make_ndarray

    return int(make_ndarray(node.attr["value"].tensor))
