"""The lists in a `tf.data` pipeline whose order Python drew before the pipeline was built, such as a list of files.

`image_dataset_from_directory` without a seed shuffles its list of files in NumPy, another way in each process. Such a
list is a constant in the graph of the pipeline. Its order is kept with the run: a later process that has the same rows
puts them in that order, and has the very graph that the run began with.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Array = np.ndarray[Any, Any]

# Nodes that give one element for each, in the order in which they get them.
_ONE_FOR_ONE = (
    "AssertCardinalityDataset",
    "MapDataset",
    "OptionsDataset",
    "ParallelMapDataset",
    "ParallelMapDatasetV2",
    "PrefetchDataset",
)
_CACHES = ("CacheDataset", "CacheDatasetV2")
_TABLES = ("LookupTableImportV2", "InitializeTableV2")
_LARGEST = 1 << 26  # bytes of a list
_STRING, _RESOURCE, _VARIANT = 7, 20, 21
_INTEGERS = (3, 9)


class Rows:
    """Lists of a graph that are read in step, such as files and their labels.

    Args:
        nodes: The constants that hold them.

    Attributes:
        nodes: The same.
        order: For each row its place among all when they are sorted; int32, shape (rows,).
        digest: Tells these rows from others, in whatever order they are.
    """

    def __init__(self, nodes: Sequence[Any]) -> None:
        self.nodes = nodes
        self._values = list(map(_value, nodes))
        keys = list(zip(*map(_keys, self._values), strict=True))
        by_key = sorted(range(len(keys)), key=keys.__getitem__)
        self.order: Array = np.empty(len(keys), np.int32)
        self.order[by_key] = np.arange(len(keys), dtype=np.int32)
        digest = hashlib.sha256(repr([(value.dtype.str, value.shape) for value in self._values]).encode())
        for at in by_key:
            for part in keys[at]:
                digest.update(b"%d:" % len(part) + part)
        self.digest = digest.hexdigest()[:16]

    def arrange(self, order: Array) -> None:
        """Put the rows of the graph in an order, as `order` tells it."""
        by_key = np.argsort(self.order)
        for node, value in zip(self.nodes, self._values, strict=True):
            _write(node.attr["value"].tensor, value[by_key[order]])
        self.order = np.asarray(order, np.int32)


def find(graph: Any) -> list[Rows]:
    """Find the lists of a graph whose order can be kept: texts with what is read beside them, and shuffled numbers.

    Args:
        graph: A GraphDef of a pipeline.
    """
    nodes = {node.name: node for node in graph.node}
    together: list[list[Any]] = []  # constants of each list
    uneven: list[list[Any]] = []  # what is zipped, where nobody can tell which rows go together
    for node in graph.node:
        if node.op == "TensorSliceDataset":
            together.append(_below(node, nodes) or [])
        elif node.op == "ZipDataset":
            consts = _below(node, nodes)
            (uneven if consts is None else together).append(list(_slices(node, nodes)) if consts is None else consts)
        elif node.op == "TensorDataset" and len(node.input) == 1:
            below = nodes.get(bare(node.input[0]))
            if below is not None and _is_a_shuffled_range(below):
                together.append([below])
    groups = [Rows(consts) for consts in _merged(together) if _is_a_list(consts)]
    for zipped in uneven:
        names = {node.name for node in zipped}
        alone = [each for each in groups if len(each.nodes) == 1 and each.nodes[0].name in names]
        if len({each.digest for each in alone}) > 1:
            groups = [each for each in groups if each not in alone]
    return groups


def others_of(graph: Any, groups: Sequence[Rows], *, besides: set[str]) -> str:
    """Hash every other value in a graph that may follow from the order of its lists.

    Args:
        graph: The GraphDef.
        groups: Its lists.
        besides: Constants that hold seeds, and what variables hold.
    """
    digest = hashlib.sha256()
    nodes = {node.name: node for node in graph.node}
    besides = besides | {node.name for group in groups for node in group.nodes}
    given = set()
    for node in graph.node:
        if "f" in node.attr:
            given |= set(map(bare, node.input))
        elif node.op in _CACHES:
            besides.add(bare(node.input[1]))
        elif node.op in _TABLES:  # a table tells its words in any order
            words, numbers = (nodes.get(bare(name)) for name in node.input[1:3])
            if words is not None and numbers is not None and words.op == numbers.op == "Const":
                besides |= {words.name, numbers.name}
                pairs = sorted(zip(*(map(repr, _value(each).tolist()) for each in (words, numbers)), strict=True))
                digest.update(repr(pairs).encode())
    for node in graph.node:
        if node.op == "Const" and node.name not in besides and (node.name in given or _count(node) > 1):
            _add(digest, node)
    digest.update("".join(sorted(map(_function, graph.library.function))).encode())
    return digest.hexdigest()[:16]


def _function(function: Any) -> str:
    digest = hashlib.sha256()
    for node in function.node_def:
        if node.op == "Const":
            _add(digest, node)
    return digest.hexdigest()


def _add(digest: Any, node: Any) -> None:
    if node.attr["dtype"].type not in (_RESOURCE, _VARIANT):
        digest.update(hashlib.sha256(node.attr["value"].tensor.SerializeToString(deterministic=True)).digest())


def _below(node: Any, nodes: dict[str, Any]) -> list[Any] | None:
    """Give the constants whose rows are the elements of a dataset, one for one; None where it is not so."""
    if node is None:
        return None
    if node.op == "TensorSliceDataset":
        consts = [nodes.get(bare(name)) for name in node.input]
        return consts if all(each is not None and each.op == "Const" for each in consts) else None
    if node.op in _ONE_FOR_ONE:
        return _below(nodes.get(bare(node.input[0])), nodes)
    if node.op != "ZipDataset":
        return None
    parts: list[Any] = []
    for name in node.input:
        part = _below(nodes.get(bare(name)), nodes)
        if part is None:
            return None
        parts += part
    return parts


def _slices(node: Any, nodes: dict[str, Any]) -> Iterator[Any]:
    """Go through all constants below a dataset that are read row by row."""
    waiting, seen = [node], set()
    while waiting:
        each = waiting.pop()
        if each is None or each.name in seen:
            continue
        seen.add(each.name)
        if each.op == "TensorSliceDataset":
            yield from filter(None, (nodes.get(bare(name)) for name in each.input))
        else:
            waiting.extend(nodes.get(bare(name)) for name in each.input)


def _merged(together: list[list[Any]]) -> list[list[Any]]:
    """Put what shares a constant into one list."""
    merged: list[dict[str, Any]] = []
    for consts in together:
        new = {node.name: node for node in consts}
        for each in [each for each in merged if each.keys() & new.keys()]:
            merged.remove(each)
            new = each | new
        merged.append(new)
    return [list(each.values()) for each in merged if each]


def _is_a_list(consts: list[Any]) -> bool:
    shapes = [[each.size for each in node.attr["value"].tensor.tensor_shape.dim] for node in consts]
    if any(not shape or shape[0] != shapes[0][0] for shape in shapes) or shapes[0][0] < 2:
        return False
    if sum(node.ByteSize() for node in consts) > _LARGEST:
        return False
    return any(node.attr["dtype"].type == _STRING for node in consts) or _is_a_shuffled_range(consts[0])


def _is_a_shuffled_range(node: Any) -> bool:
    """Whether numbers are those of a range, in any order: places, and no data."""
    tensor = node.attr["value"].tensor if node.op == "Const" else None
    if tensor is None or len(tensor.tensor_shape.dim) != 1 or node.attr["dtype"].type not in _INTEGERS:
        return False
    if tensor.tensor_shape.dim[0].size < 2 or node.ByteSize() > _LARGEST:
        return False
    steps = np.diff(np.sort(_value(node)))
    return bool(steps[0] > 0 and (steps == steps[0]).all())


def _keys(values: Array) -> list[bytes]:
    """Give what rows are sorted by. Of paths the folder of all is left away: it is another on another machine."""
    if not values.dtype.hasobject:
        rows = np.ascontiguousarray(values).reshape(len(values), -1)
        return [row.tobytes() for row in rows]
    rows = values.reshape(len(values), -1)
    flat = rows.reshape(-1).tolist()
    first, last = min(flat), max(flat)
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    start = first.rfind(b"/", 0, same) + 1
    return [b"".join(b"%d:" % (len(text) - start) + text[start:] for text in row) for row in rows.tolist()]


def _value(node: Any) -> Array:
    import tensorflow as tf

    dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
    value: Array = tf.io.parse_tensor(node.attr["value"].tensor.SerializeToString(), dtype).numpy()
    return value


def _write(tensor: Any, value: Array) -> None:
    """Write a value in the form that the tensor has: as one string of bytes, or as a field of numbers or texts."""
    import tensorflow as tf

    if not tensor.tensor_content:
        tensor.ParseFromString(tf.io.serialize_tensor(tf.constant(value)).numpy())
    elif value.dtype.hasobject:  # all lengths, then all texts
        texts = value.reshape(-1).tolist()
        tensor.tensor_content = b"".join([*map(_varint, map(len, texts)), *texts])
    else:
        tensor.tensor_content = value.tobytes()


def _varint(number: int) -> bytes:
    """Write a number as protocol buffers do."""
    written = bytearray()
    while number > 0x7F:  # seven bits a byte
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def _count(node: Any) -> int:
    count = 1
    for each in node.attr["value"].tensor.tensor_shape.dim:
        count *= each.size
    return count


def bare(name: str) -> str:
    """Return the name of the node that an input names.

    Example:
        >>> bare("^shuffle:0")
        'shuffle'
    """
    return name.lstrip("^").split(":", 1)[0]
