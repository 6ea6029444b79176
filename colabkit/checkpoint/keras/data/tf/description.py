"""What is known of a `tf.data` pipeline from its graph: what its data and steps are, and what cannot be continued."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from colabkit.checkpoint.keras.data.tf import random as tf_random
from colabkit.checkpoint.keras.data.tf import rows as tf_rows
from colabkit.checkpoint.keras.data.tf.seeds import SEEDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit.checkpoint.keras.data.tf.nodes import GraphNodes

_BUFFERS = ("Prefetch", "Shuffle", "Parallel", "MapAndBatch")
_BATCHES = ("BatchDataset", "BatchDatasetV2", "ParallelBatchDataset", "PaddedBatchDatasetV2")
_PYTHON = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "GeneratorDataset")
_CACHES = ("CacheDataset", "CacheDatasetV2")
_SMALL_CONST = 256  # bytes
_STRING = 7
_PLAIN = (1, 2, 3, 9, 10)  # float, double, int32, int64, bool


def describe(nodes: GraphNodes, groups: Sequence[tf_rows.Rows], *, drawn: set[str]) -> dict[str, Any]:
    """Tell what identifies the data that is in a pipeline, and the steps that are made of it.

    Args:
        nodes: Of its graph.
        groups: Its lists of rows that Python may have shuffled.
        drawn: The constants that hold seeds, and what variables hold.
    """
    description: dict[str, Any] = {
        "fingerprint": _source_fingerprint(nodes),
        "pipeline": _pipeline_fingerprint(nodes, drawn),
        "names": _names_fingerprint(nodes),
    }
    if groups:
        description["rows"] = [rows.digest for rows in groups]
        description["others"] = tf_rows.others_of(nodes.graph, groups, besides=drawn)
    node: Any = nodes.graph.node[-1]
    while node is not None and node.input:
        if node.op in _BATCHES and nodes.is_const(node.input[1]):
            return {**description, "batch_size": nodes.value(node.input[1])}
        node = nodes.of(node.input[0])
    return description


def caveats(nodes: GraphNodes) -> Iterator[str]:
    """Name what keeps a continued pipeline from giving the same as one that was never stopped."""
    if {node.op for node in nodes.all()} & set(_PYTHON):
        yield "the tf.data pipeline calls Python (from_generator, py_function), whose state TensorFlow cannot save"
    yield from caveats_of_a_pass(nodes)
    if _assigns_in_parallel(nodes):
        yield "threads of a map share one random generator: map without num_parallel_calls, or seed by element"
    if _loses_a_pass(nodes):
        yield "TensorFlow loses the order of a shuffle() before repeat() with a buffer in between; repeat() first"


def caveats_of_a_pass(nodes: GraphNodes) -> Iterator[str]:
    """Name what keeps a pass that begins anew from giving what it gave in another process."""
    ops = {node.op for node in nodes.all()}
    if names := sorted(ops & set(tf_random.STATEFUL)):
        yield f"the tf.data pipeline draws random numbers of TensorFlow ({names[0]}) that have no state to save"
    if _is_nondeterministic(nodes):
        yield "the tf.data pipeline is not deterministic: elements come in the order in which threads finish"


def cache_files(nodes: GraphNodes) -> Iterator[str]:
    """Name the files that a pipeline caches in, as they were given to `cache()`."""
    for node in nodes.graph.node:
        below = nodes.of(node.input[1]) if node.op in _CACHES else None
        if below is not None and below.op == "Const":
            yield from (name.decode() for name in below.attr["value"].tensor.string_val if name)


def _is_nondeterministic(nodes: GraphNodes) -> bool:
    import tensorflow as tf
    from tensorflow.core.framework import dataset_options_pb2

    del tf
    relaxed = False
    for node in nodes.all():
        if node.op == "OptionsDataset":
            options = dataset_options_pb2.Options.FromString(node.attr["serialized_options"].s)
            if options.WhichOneof("optional_deterministic") and not options.deterministic:
                relaxed = True
        elif "deterministic" in node.attr and node.attr["deterministic"].s == b"false":
            return True
    return relaxed and any("Parallel" in node.op for node in nodes.all())


def _assigns_in_parallel(nodes: GraphNodes) -> bool:
    changing = {
        function.signature.name
        for function in nodes.graph.library.function
        if any(node.op.startswith(("Assign", "RngReadAndSkip")) for node in function.node_def)
    }
    return any(
        node.op.startswith(("ParallelMap", "MapAndBatch")) and "f" in node.attr and node.attr["f"].func.name in changing
        for node in nodes.all()
    )


def _loses_a_pass(nodes: GraphNodes) -> bool:
    """Whether a shuffle is read to its end before the pass above it ends.

    Measured on TensorFlow 2.21: an exhausted iterator is thrown away, and how often it was begun is forgotten.
    """

    def search(name: str, *, repeated: bool, buffered: bool) -> bool:
        node = nodes.of(name)
        if node is None:
            return False
        if node.op in SEEDS and repeated and buffered:
            return True
        repeated = repeated or node.op == "RepeatDataset"
        buffered = repeated and node.op != "RepeatDataset" and (buffered or node.op.startswith(_BUFFERS))
        return any(search(below, repeated=repeated, buffered=buffered) for below in node.input)

    return any(search(node.input[0], repeated=False, buffered=False) for node in nodes.graph.node[-1:])


def _source_fingerprint(nodes: GraphNodes) -> str:
    digest = hashlib.sha256()
    for node in nodes.graph.node:
        if node.op in ("TensorSliceDataset", "TensorDataset", "SparseTensorSliceDataset"):
            for name in node.input:
                below = nodes.of(name)
                if below is not None and below.op == "Const":
                    _add_tensor(digest, below.attr["value"].tensor)
        elif node.op in ("RangeDataset", "ShardDataset", "TakeDataset", "SkipDataset"):
            values = [str(nodes.value(name)) for name in node.input if nodes.is_const(name)]
            digest.update(f"{node.op}{values}".encode())
    return digest.hexdigest()[:16]


def _names_fingerprint(nodes: GraphNodes) -> str:
    """Hash the lists of texts, as of files; empty where there are none. Of a path only its end counts."""
    import tensorflow as tf

    digest, matched = hashlib.sha256(), False
    for node in nodes.graph.node:
        for below in map(nodes.of, (node.input if node.op == "TensorSliceDataset" else ())):
            if below is None or below.op != "Const" or below.attr["dtype"].type != _STRING:
                continue
            texts = tf.io.parse_tensor(below.attr["value"].tensor.SerializeToString(), tf.string).numpy().reshape(-1)
            digest.update(b"\0".join(b"/".join(text.replace(b"\\", b"/").split(b"/")[-2:]) for text in texts))
            matched = True
    return digest.hexdigest()[:16] if matched else ""


def _pipeline_fingerprint(nodes: GraphNodes, drawn: set[str]) -> str:
    parts = []
    for each in [nodes.graph.node, *(function.node_def for function in nodes.graph.library.function)]:
        text = []
        for node in each:
            if node.op == "Const" and node.name not in drawn and node.attr["dtype"].type in _PLAIN:
                value = node.attr["value"].tensor
                text.append(f"{node.op} {value if value.ByteSize() < _SMALL_CONST else ''}")
            else:
                text.append(node.op)
        parts.append(hashlib.sha256("\n".join(text).encode()).hexdigest())
    return hashlib.sha256("".join([parts[0], *sorted(parts[1:])]).encode()).hexdigest()[:16]


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
