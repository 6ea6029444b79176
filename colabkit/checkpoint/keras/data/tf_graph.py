"""The graph of a `tf.data` pipeline: its seeds made ours, so that every epoch has an order that can be told again.

TensorFlow chooses the seed of a `shuffle()` without one when the pipeline is built, and no state of an iterator holds
it. The graph of a pipeline can be read, given seeds, and built again; functions of a `map` stay as they were traced.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.keras.data import tf_random, tf_rows, tf_variables
from colabkit.checkpoint.keras.data.tf_rows import bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Array = np.ndarray[Any, Any]

# Where the two seeds of an op are among its inputs, and where its generator of seeds for each pass is.
_SEEDS = {"ShuffleDatasetV3": (2, 4), "ShuffleAndRepeatDatasetV2": (2, 5), "RandomDatasetV2": (0, 2)}
_FIXED_SEEDS = {"ShuffleDataset": 2, "ShuffleAndRepeatDataset": 2, "RandomDataset": 0}
_BUFFERS = ("Prefetch", "Shuffle", "Parallel", "MapAndBatch")
_BATCHES = ("BatchDataset", "BatchDatasetV2", "ParallelBatchDataset", "PaddedBatchDatasetV2")
_PYTHON = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "GeneratorDataset")
_CACHES = ("CacheDataset", "CacheDatasetV2")
_MOST_BYTES = 3 << 29  # a graph of 2 GiB cannot be read
_OURS = "colabkit_seed_"
_SMALL = 1 << 16  # elements of a variable
_LARGE = 1 << 20  # bytes
_SMALL_CONST = 256  # bytes
_STRING = 7
_PLAIN = (1, 2, 3, 9, 10)  # float, double, int32, int64, bool


class PipelineGraph:
    """The graph of one pipeline.

    Args:
        dataset: A `tf.data.Dataset`.
        orders: The orders that its lists get, as in the attribute of that name; as they are without it.

    Attributes:
        orders: The order of each list of rows that Python may have shuffled, as of files; int32, shape (rows,).
        seeds: The seeds of its shuffles and random numbers, two numbers each, in the graph's order.
        fixed: For each of them, whether every pass comes in the same order.
        data: What identifies the data that is in the graph, and the steps that are made of it.
        has_generator: Whether it reads a Python generator, whose place TensorFlow cannot save once it is begun.
        is_random: Whether anything in it depends on seeds.
        hidden: Whether shuffles without a seed are inside functions, as of `interleave`.
        cache_files: The files that it caches in, as they were given to `cache()`.
    """

    def __init__(self, dataset: Any, orders: Sequence[Array] | None = None) -> None:
        import tensorflow as tf
        from tensorflow.python.data.ops import options

        self._spec = dataset.element_spec
        graph = tf.compat.v1.GraphDef()
        serialized = dataset._as_serialized_graph(external_state_policy=options.ExternalStatePolicy.IGNORE)
        graph.ParseFromString(serialized.numpy())
        self._graph = graph
        self._links = tf_variables.links(dataset, graph)
        self.rewritten = tf_random.make_stateless(graph)
        self._nodes = {node.name: node for node in graph.node}
        self._seeded = [node for node in graph.node if node.op in _SEEDS or node.op in _FIXED_SEEDS]
        self.seeds = [[int(self._value(name)) for name in self._seed_inputs(node)] for node in self._seeded]
        self._seed_names = [self._seed_inputs(node) for node in self._seeded]
        self.fixed = [self._is_fixed(node) for node in self._seeded]
        self.cache_files = list(self._cache_files())
        self._upper: Any = None
        self._output = ""
        self._fixed: dict[str, Any] = {}
        self._types: list[Any] = []
        self._inner = [
            (function, node)
            for function in graph.library.function
            for node in function.node_def
            if node.op in _SEEDS or node.op in _FIXED_SEEDS
        ]
        self.hidden = any(self._inner_seeds(function, node) == [0, 0] for function, node in self._inner)
        self._handles: list[Any] = []
        groups = tf_rows.find(graph)
        for rows, order in zip(groups, orders or (), strict=False):
            rows.arrange(order)
        self.orders = [rows.order for rows in groups]
        self.data = self._describe(groups)
        self.has_generator = any(node.op == "GeneratorDataset" for node in self._all_nodes())
        self.is_random = bool(self._seeded or self._inner)

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

    # ---- what is known of it ----

    def _describe(self, groups: Sequence[tf_rows.Rows]) -> dict[str, Any]:
        description: dict[str, Any] = {
            "fingerprint": self._source_fingerprint(),
            "pipeline": self._pipeline_fingerprint(),
            "names": self._names_fingerprint(),
        }
        if groups:
            description["rows"] = [rows.digest for rows in groups]
            description["others"] = tf_rows.others_of(self._graph, groups, besides=self._drawn())
        node: Any = self._graph.node[-1]
        while node is not None and node.input:
            if node.op in _BATCHES and self._is_const(node.input[1]):
                return {**description, "batch_size": self._value(node.input[1])}
            node = self._nodes.get(bare(node.input[0]))
        return description

    def caveats(self) -> Iterator[str]:
        """Name what keeps a continued pipeline from giving the same as one that was never stopped."""
        if {node.op for node in self._all_nodes()} & set(_PYTHON):
            yield "the tf.data pipeline calls Python (from_generator, py_function), whose state TensorFlow cannot save"
        yield from self.caveats_of_a_pass()
        if self._assigns_in_parallel():
            yield "threads of a map share one random generator: map without num_parallel_calls, or seed by element"
        if self._loses_a_pass():
            yield "TensorFlow loses the order of a shuffle() before repeat() with a buffer in between; repeat() first"

    def caveats_of_a_pass(self) -> Iterator[str]:
        """Name what keeps a pass that begins anew from giving what it gave in another process."""
        ops = {node.op for node in self._all_nodes()}
        if names := sorted(ops & set(tf_random.STATEFUL)):
            yield f"the tf.data pipeline draws random numbers of TensorFlow ({names[0]}) that have no state to save"
        if self._is_nondeterministic():
            yield "the tf.data pipeline is not deterministic: elements come in the order in which threads finish"

    def _cache_files(self) -> Iterator[str]:
        for node in self._graph.node:
            below = self._nodes.get(bare(node.input[1])) if node.op in _CACHES else None
            if below is not None and below.op == "Const":
                yield from (name.decode() for name in below.attr["value"].tensor.string_val if name)

    def _is_nondeterministic(self) -> bool:
        import tensorflow as tf
        from tensorflow.core.framework import dataset_options_pb2

        del tf
        relaxed = False
        for node in self._all_nodes():
            if node.op == "OptionsDataset":
                options = dataset_options_pb2.Options.FromString(node.attr["serialized_options"].s)
                if options.WhichOneof("optional_deterministic") and not options.deterministic:
                    relaxed = True
            elif "deterministic" in node.attr and node.attr["deterministic"].s == b"false":
                return True
        return relaxed and any("Parallel" in node.op for node in self._all_nodes())

    def _assigns_in_parallel(self) -> bool:
        changing = {
            function.signature.name
            for function in self._graph.library.function
            if any(node.op.startswith(("Assign", "RngReadAndSkip")) for node in function.node_def)
        }
        return any(
            node.op.startswith(("ParallelMap", "MapAndBatch"))
            and "f" in node.attr
            and node.attr["f"].func.name in changing
            for node in self._all_nodes()
        )

    def _loses_a_pass(self) -> bool:
        """Whether a shuffle is read to its end before the pass above it ends.

        Measured on TensorFlow 2.21: an exhausted iterator is thrown away, and how often it was begun is forgotten.
        """

        def search(name: str, *, repeated: bool, buffered: bool) -> bool:
            node = self._nodes.get(bare(name))
            if node is None:
                return False
            if node.op in _SEEDS and repeated and buffered:
                return True
            repeated = repeated or node.op == "RepeatDataset"
            buffered = repeated and node.op != "RepeatDataset" and (buffered or node.op.startswith(_BUFFERS))
            return any(search(below, repeated=repeated, buffered=buffered) for below in node.input)

        return any(search(node.input[0], repeated=False, buffered=False) for node in self._graph.node[-1:])

    def _source_fingerprint(self) -> str:
        digest = hashlib.sha256()
        for node in self._graph.node:
            if node.op in ("TensorSliceDataset", "TensorDataset", "SparseTensorSliceDataset"):
                for name in node.input:
                    below = self._nodes.get(bare(name))
                    if below is not None and below.op == "Const":
                        _add_tensor(digest, below.attr["value"].tensor)
            elif node.op in ("RangeDataset", "ShardDataset", "TakeDataset", "SkipDataset"):
                values = [str(self._value(name)) for name in node.input if self._is_const(name)]
                digest.update(f"{node.op}{values}".encode())
        return digest.hexdigest()[:16]

    def _names_fingerprint(self) -> str:
        """Hash the lists of texts, as of files; empty where there are none. Of a path only its end counts."""
        import tensorflow as tf

        digest, matched = hashlib.sha256(), False
        for node in self._graph.node:
            for below in map(self._nodes.get, map(bare, node.input if node.op == "TensorSliceDataset" else ())):
                if below is None or below.op != "Const" or below.attr["dtype"].type != _STRING:
                    continue
                texts = (
                    tf.io.parse_tensor(below.attr["value"].tensor.SerializeToString(), tf.string).numpy().reshape(-1)
                )
                digest.update(b"\0".join(b"/".join(text.replace(b"\\", b"/").split(b"/")[-2:]) for text in texts))
                matched = True
        return digest.hexdigest()[:16] if matched else ""

    def _pipeline_fingerprint(self) -> str:
        seeds = self._drawn()
        parts = []
        for nodes in [self._graph.node, *(function.node_def for function in self._graph.library.function)]:
            text = []
            for node in nodes:
                if node.op == "Const" and node.name not in seeds and node.attr["dtype"].type in _PLAIN:
                    value = node.attr["value"].tensor
                    text.append(f"{node.op} {value if value.ByteSize() < _SMALL_CONST else ''}")
                else:
                    text.append(node.op)
            parts.append(hashlib.sha256("\n".join(text).encode()).hexdigest())
        return hashlib.sha256("".join([parts[0], *sorted(parts[1:])]).encode()).hexdigest()[:16]

    def _drawn(self) -> set[str]:
        """Name the constants that hold seeds, and what variables hold, which is kept."""
        seeds = {name for node in self._seeded for name in self._seed_inputs(node)}
        return seeds | {bare(node.input[1]) for node in self._graph.node if node.op == "AssignVariableOp"}

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
        self._set_seeds(self._upper, seeds, inner)
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

        graph, mark = self._graph, uuid.uuid4().hex
        for node in list(graph.node):
            if node.op in _SEEDS:
                _own(graph, node, _SEEDS[node.op][1], "DummySeedGenerator")
            elif node.op == "CacheDatasetV2":
                _own(graph, node, 2, "DummyMemoryCache")
                _fix_below(self._nodes, node)
            elif node.op == "VarHandleOp":
                if node.name in self._links:
                    tf_variables.leave_alone(graph, node.name)
                node.attr["shared_name"].s = f"colabkit-{mark}-{len(self._handles)}".encode()
                self._handles.append(node)
        self._nodes = {node.name: node for node in graph.node}
        self._output = next(node.input[0] for node in graph.node if node.op == "_Retval")
        self._set_seeds(graph, seeds, inner)
        cuts, upper, waiting = [], set(), [bare(self._output)]
        while waiting:
            name = waiting.pop()
            if name in upper or name in cuts:
                continue
            node = self._nodes[name]
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
            self._graph = self._upper
            self._nodes = {node.name: node for node in self._upper.node}

    def _is_large_source(self, node: Any) -> bool:
        if node.op not in ("TensorSliceDataset", "TensorDataset"):
            return False
        size: int = sum(self._nodes[bare(name)].ByteSize() for name in node.input)
        return size > _LARGE

    def _reachable(self, name: str) -> set[str]:
        reached: set[str] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting.extend(bare(below) for below in self._nodes[each].input)
        return reached

    def _part(self, names: set[str]) -> Any:
        part = type(self._graph)()
        part.versions.CopyFrom(self._graph.versions)
        part.library.CopyFrom(self._graph.library)
        part.node.extend(node for node in self._graph.node if node.name in names)
        return part

    def _set_seeds(self, graph: Any, seeds: Sequence[Sequence[int]], inner: int) -> None:
        import tensorflow as tf

        nodes = {node.name: node for node in graph.node}
        for name, pair in zip(self._seed_names, seeds, strict=True):
            for each, seed in zip(name, pair, strict=True):
                if each in nodes:
                    nodes[each].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(seed, tf.int64, ()))
        self._seed_inside(graph, inner)

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

    def _seed_inside(self, graph: Any, inner: int) -> None:
        import tensorflow as tf

        if not self.hidden:
            return
        inner &= (1 << 62) - 1
        for function in graph.library.function:
            nodes = {node.name: node for node in function.node_def}
            for node in function.node_def:
                if (node.op in _SEEDS or node.op in _FIXED_SEEDS) and self._inner_seeds(function, node) == [0, 0]:
                    for number, name in enumerate(self._seed_inputs(node)):
                        own = function.node_def.add()
                        own.CopyFrom(nodes[name])
                        own.name = f"{_OURS}{number}_{node.name}"
                        node.input[self._seed_at(node) + number] = f"{own.name}:output:0"
            for node in function.node_def:
                if node.name.startswith(_OURS):
                    seed = inner + int(node.name[len(_OURS)])
                    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(seed, tf.int64, ()))

    # ---- parts ----

    def _is_fixed(self, node: Any) -> bool:
        for attribute in ("reshuffle_each_iteration", "rerandomize_each_iteration"):
            if attribute in node.attr:
                return not bool(node.attr[attribute].b)
        return node.op not in _SEEDS

    def _all_nodes(self) -> Iterator[Any]:
        yield from self._graph.node
        for function in self._graph.library.function:
            yield from function.node_def

    @staticmethod
    def _seed_at(node: Any) -> int:
        return _SEEDS[node.op][0] if node.op in _SEEDS else _FIXED_SEEDS[node.op]

    def _seed_inputs(self, node: Any) -> list[str]:
        at = self._seed_at(node)
        return [bare(name) for name in node.input[at : at + 2]]

    def _inner_seeds(self, function: Any, node: Any) -> list[int]:
        nodes = {each.name: each for each in function.node_def}
        constants = [nodes.get(name) for name in self._seed_inputs(node)]
        return [int(_number(each)) if each is not None and each.op == "Const" else -1 for each in constants]

    def _is_const(self, name: str) -> bool:
        node = self._nodes.get(bare(name))
        return node is not None and node.op == "Const"

    def _value(self, name: str) -> int:
        return _number(self._nodes[bare(name)])


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


def _number(node: Any) -> int:
    from tensorflow import make_ndarray

    return int(make_ndarray(node.attr["value"].tensor))


def _add_tensor(digest: Any, tensor: Any) -> None:
    from tensorflow import make_ndarray

    from colabkit.checkpoint.keras.data.arrays import fingerprint

    try:
        value = make_ndarray(tensor)
    except (KeyError, TypeError, ValueError):  # a variant, a resource
        return
    if value.dtype.hasobject:  # texts; of a path only its end, as the folder is another on another machine
        texts = [bytes(text).replace(b"\\", b"/").split(b"/")[-2:] for text in value.reshape(-1)]
        digest.update(b"\0".join(b"/".join(parts) for parts in texts))
    else:
        digest.update(fingerprint(value).encode())
