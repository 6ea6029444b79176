"""Claims about states: whatever may be saved comes back as it was."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.checkpoint.format import file as container
from colabkit.checkpoint.state.pytree import of_state, to_state
from colabkit.errors import CheckpointError

NAMES = st.text(max_size=5) | st.sampled_from(["$tensor", "$dict", "$", "a/b", "a", "b", "a'", "__metadata__"])
KEYS = NAMES | st.integers(-3, 3) | st.tuples(st.integers(0, 2), NAMES) | st.binary(max_size=3) | st.none()
DTYPES = [np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64, ml_dtypes.bfloat16]
ARRAYS = st.builds(
    lambda shape, dtype: np.arange(math.prod(shape)).reshape(shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(DTYPES),
)
SCALARS = st.builds(lambda dtype: dtype(1), st.sampled_from(DTYPES))
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
STATES = st.recursive(
    PLAIN | ARRAYS | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)


def through_a_file(state):
    """Save and restore through a real file."""
    taken = of_state(state, step=1)
    file = io.BytesIO()
    container.write(file, taken.tensors, taken.meta)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "one")
        path.write_bytes(file.getvalue())
        found = container.read(path)
    return to_state(found.tensors, found.meta)


def same(one, other):
    """Compare states by type, dtype, shape and bits; nan is nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return list(map(repr, one)) == list(map(repr, other)) and all(map(same, one.values(), other.values()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@given(STATES)
def test_any_state_comes_back(state):
    """Nested dicts, lists, tuples, arrays and plain values survive, with their types, order and bits."""
    assert same(state, through_a_file(state))


def test_names_that_meet_are_kept_apart():
    """Two arrays whose places read the same do not overwrite each other."""
    state = {"a/b": np.array([1]), "a": {"b": np.array([2])}, 1: np.array([3]), "1": np.array([4])}
    assert same(state, through_a_file(state))


@pytest.mark.parametrize("value", [object(), print, {1, object()}, np.array([object()])])
def test_what_cannot_be_saved_is_named_by_its_place(value):
    """The message says where in the state it is."""
    with pytest.raises(CheckpointError, match="state/layers/1"):
        of_state({"layers": [0, value]}, step=1)
