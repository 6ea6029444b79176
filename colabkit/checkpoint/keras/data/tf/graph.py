"""The graph of a `tf.data` pipeline: its seeds made ours, so that every epoch has an order that can be told again.

TensorFlow chooses the seed of a `shuffle()` without one when the pipeline is built, and no state of an iterator holds
it. The graph of a pipeline can be read, given seeds, and built again; functions of a `map` stay as they were traced.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.keras.data.tf import description as tf_description
from colabkit.checkpoint.keras.data.tf import random as tf_random
from colabkit.checkpoint.keras.data.tf import rows as tf_rows
from colabkit.checkpoint.keras.data.tf import variables as tf_variables
from colabkit.checkpoint.keras.data.tf.nodes import GraphNodes
from colabkit.checkpoint.keras.data.tf.rows import bare
from colabkit.checkpoint.keras.data.tf.seeds import SEEDS, GraphSeeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Array = np.ndarray[Any, Any]

_MOST_BYTES = 3 << 29  # a graph of 2 GiB cannot be read
_SMALL = 1 << 16  # elements of a variable
_LARGE = 1 << 20  # bytes


class PipelineGraph:
    """The graph of one pipeline.

    Args:
        dataset: A `tf.data.Dataset`.
        orders: The orders that its lists get, as in the attribute of that name; as they are without it.

    Attributes:
        orders: The order of each list of rows that Python may have shuffled, as of files; int32, shape (rows,).
        data: What identifies the data that is in the graph, and the steps that are made of it.
        has_generator: Whether it reads a Python generator, whose place TensorFlow cannot save once it is begun.
        cache_files: The files that it caches in, as they were given to `cache()`.
    """

    def __init__(self, dataset: Any, orders: Sequence[Array] | None = None) -> None:
        import tensorflow as tf
        from tensorflow.python.data.ops import options

        self._spec = dataset.element_spec
        graph = tf.compat.v1.GraphDef()
        serialized = dataset._as_serialized_graph(external_state_policy=options.ExternalStatePolicy.IGNORE)
        graph.ParseFromString(serialized.numpy())
        self._links = tf_variables.links(dataset, graph)
        tf_random.make_stateless(graph)
        self._nodes = GraphNodes(graph)
        self._seeds = GraphSeeds(self._nodes)
        groups = tf_rows.find(graph)
        for rows, order in zip(groups, orders or (), strict=False):
            rows.arrange(order)
        self.orders = [rows.order for rows in groups]
        self.data = tf_description.describe(self._nodes, groups, drawn=self._drawn())
        self.cache_files = list(tf_description.cache_files(self._nodes))
        self.has_generator = any(node.op == "GeneratorDataset" for node in self._nodes.all())
        self._upper: Any = None
        self._output = ""
        self._fixed: dict[str, Any] = {}
        self._handles: list[Any] = []
        self._types: list[Any] = []

    @property
    def seeds(self) -> list[list[int]]:
        """The seeds of its shuffles and random numbers, two numbers each, in the graph's order."""
        return self._seeds.values

    @property
    def fixed(self) -> list[bool]:
        """For each of the seeds, whether every pass comes in the same order."""
        return self._seeds.fixed

    @property
    def is_random(self) -> bool:
        """Whether anything in it depends on seeds."""
        return self._seeds.any

    def caveats(self) -> Iterator[str]:
        """Name what keeps a continued pipeline from giving the same as one that was never stopped."""
        return tf_description.caveats(self._nodes)

    def caveats_of_a_pass(self) -> Iterator[str]:
        """Name what keeps a pass that begins anew from giving what it gave in another process."""
        return tf_description.caveats_of_a_pass(self._nodes)

    def in_order_of(self, saved: Mapping[str, Any], orders: Sequence[Array]) -> bool:
        """Tell whether it has the rows of a saved pipeline, in another order, and depends on that nowhere else.

        Args:
            saved: The `data` of the saved one.
            orders: Its `orders`.
        """
        same = all(self.data.get(name) == saved.get(name) for name in ("rows", "others"))
        if not (same and self.orders and [len(order) for order in orders] == [len(order) for order in self.orders]):
            return False
        return any(not np.array_equal(one, other) for one, other in zip(orders, self.orders, strict=True))

    def _drawn(self) -> set[str]:
        """Name the constants that hold seeds, and what variables hold, which is kept."""
        seeds = {name for names in self._seeds.names for name in names}
        assigned = (node for node in self._nodes.graph.node if node.op == "AssignVariableOp")
        return seeds | {bare(node.input[1]) for node in assigned}

    # ---- building it again ----

    def build(self, seeds: Sequence[Sequence[int]], *, inner: int) -> Any:
        """Build the pipeline with other seeds.

        What lies in a cache, and arrays of some size, are there once, however often it is built.

        Args:
            seeds: As `seeds`.
            inner: The seed of shuffles inside functions that have none.
        """
        import tensorflow as tf
        from tensorflow.python.data.ops import dataset_ops

        if self._upper is None:
            self._divide(seeds, inner)
        assert self._upper is not None  # noqa: S101 - for the type checker
        self._seeds.write(self._upper, seeds, inner)
        with tf.device("CPU:0"):
            whole = self._fixed.get(bare(self._output))  # where the cache comes last
            variant = _run(self._upper, self._output, self._fixed, links=self._links) if whole is None else whole
        dataset = dataset_ops._VariantDataset(variant, self._spec)
        options = tf.data.Options()
        options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
        return dataset.with_options(options)

    def _divide(self, seeds: Sequence[Sequence[int]], inner: int) -> None:
        """Take apart what is built for each pass and what is built once: caches, and arrays of some size."""
        import tensorflow as tf

        graph, mark = self._nodes.graph, uuid.uuid4().hex
        for node in list(graph.node):
            if node.op in SEEDS:
                _own(graph, node, SEEDS[node.op][1], "DummySeedGenerator")
            elif node.op == "CacheDatasetV2":
                _own(graph, node, 2, "DummyMemoryCache")
                _fix_below(self._nodes.by_name, node)
            elif node.op == "VarHandleOp":
                if node.name in self._links:
                    tf_variables.leave_alone(graph, node.name)
                node.attr["shared_name"].s = f"colabkit-{mark}-{len(self._handles)}".encode()
                self._handles.append(node)
        self._nodes = GraphNodes(graph)
        self._output = next(node.input[0] for node in graph.node if node.op == "_Retval")
        self._seeds.write(graph, seeds, inner)
        cuts, upper, waiting = [], set(), [bare(self._output)]
        while waiting:
            name = waiting.pop()
            if name in upper or name in cuts:
                continue
            node = self._nodes.by_name[name]
            if node.op == "CacheDatasetV2" or self._is_large_source(node):
                cuts.append(name)
            else:
                upper.add(name)
                waiting.extend(bare(each) for each in node.input)
        with tf.device("CPU:0"):
            self._fixed = {name: _run(self._part(self._reachable(name)), name, {}, links=self._links) for name in cuts}
        self._upper = self._part(upper)
        variables = [tf.TensorShape(node.attr["shape"].shape) for node in self._handles]
        self._types = [node.attr["dtype"].type for node in self._handles]
        self._handles = [
            self._links[node.name]
            if node.name in self._links
            else tf.raw_ops.VarHandleOp(dtype=dtype, shape=shape, shared_name=node.attr["shared_name"].s.decode())
            for node, dtype, shape in zip(self._handles, self._types, variables, strict=True)
        ]
        if cuts:  # the arrays are in what was built
            self._nodes = GraphNodes(self._upper)

    def _is_large_source(self, node: Any) -> bool:
        if node.op not in ("TensorSliceDataset", "TensorDataset"):
            return False
        size: int = sum(self._nodes.by_name[bare(name)].ByteSize() for name in node.input)
        return size > _LARGE

    def _reachable(self, name: str) -> set[str]:
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting.extend(bare(below) for below in self._nodes.by_name[each].input)
        return reached

    def _part(self, names: set[str]) -> Any:
        graph = self._nodes.graph
        part = type(graph)()
        part.versions.CopyFrom(graph.versions)
        part.library.CopyFrom(graph.library)
        part.node.extend(node for node in graph.node if node.name in names)
        return part

    def read_variables(self) -> dict[str, Array]:
        """Read what the functions of the pipeline keep in variables, such as the seeds of random layers."""
        import tensorflow as tf

        arrays = {}
        for number, (handle, dtype) in enumerate(zip(self._handles, self._types, strict=True)):
            value = tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype).numpy()
            if value.size <= _SMALL:
                arrays[f"data/variable/{number}"] = np.array(value)
        return arrays

    def write_variables(self, tensors: Mapping[str, Array]) -> None:
        """Give the variables back what they were."""
        import tensorflow as tf

        for number, (handle, dtype) in enumerate(zip(self._handles, self._types, strict=True)):
            if (value := tensors.get(f"data/variable/{number}")) is not None:
                tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(value, dtype))


def readable(dataset: Any) -> bool:
    """Tell whether the graph of a dataset is small enough to be read."""
    if not hasattr(dataset, "_as_serialized_graph") or not hasattr(dataset, "_inputs"):
        return False
    size, waiting = 0, [dataset]
    while waiting:
        each = waiting.pop()
        for tensor in getattr(each, "_tensors", ()):
            if hasattr(tensor, "shape") and hasattr(tensor, "dtype") and tensor.shape.is_fully_defined():
                size += tensor.shape.num_elements() * max(1, tensor.dtype.size)
        waiting.extend(each._inputs())
    return size < _MOST_BYTES


def _run(graph: Any, output: str, given: dict[str, Any], *, links: Mapping[str, Any]) -> Any:
    """Run a graph that makes a dataset.

    Args:
        graph: The GraphDef.
        output: The node that is the dataset.
        given: Datasets, by the names of the nodes that stand for them.
        links: The user's variables, by the names of the nodes that stand for them.
    """
    import tensorflow as tf

    there = {node.name for node in graph.node}
    links = {name: handle for name, handle in links.items() if name in there}
    if not given and not links:
        graph = type(graph).FromString(graph.SerializeToString())
        result = graph.node.add()
        result.name, result.op = "dataset", "_Retval"
        result.input.append(output)
        result.attr["T"].type, result.attr["index"].i = 21, 0  # DT_VARIANT
        return tf.raw_ops.DatasetFromGraph(graph_def=graph.SerializeToString())
    names = list(given)

    def make(*variants: Any) -> Any:
        mapped = {f"{name}:0": variant for name, variant in zip(names, variants, strict=True)}
        here: Any = tf.compat.v1.get_default_graph()
        mapped |= {f"{name}:0": here.capture(handle) for name, handle in links.items()}
        return tf.graph_util.import_graph_def(graph, input_map=mapped, return_elements=[f"{bare(output)}:0"], name="")

    signature = [tf.TensorSpec((), tf.variant) for _ in names]
    made = tf.compat.v1.wrap_function(make, signature)(*given.values())
    return made[0] if isinstance(made, list | tuple) else made


def _own(graph: Any, node: Any, at: int, op: str) -> None:
    """Give a node a resource of its own, instead of the one of the pipeline that was read."""
    new = graph.node.add()
    new.name, new.op = f"{op}-{node.name}".replace("/", "_"), op
    node.input[at] = new.name


def _fix_below(nodes: dict[str, Any], cache: Any) -> None:
    """Let what is below a cache come in one order, since the cache keeps one: whenever it is filled it is the same."""
    waiting, seen = list(cache.input[:1]), set()
    while waiting:
        node = nodes.get(bare(waiting.pop()))
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        for attribute in ("reshuffle_each_iteration", "rerandomize_each_iteration"):
            if attribute in node.attr:
                node.attr[attribute].b = False
        waiting.extend(node.input)
