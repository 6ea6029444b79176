"""Claims about the memory of copies: it is used again, and never while anybody reads it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit.checkpoint.state import buffer_pool
from colabkit.checkpoint.state.buffer_pool import Buffers
from colabkit.runtime import resources

LARGE = 1 << 17


def where(array):
    """Tell where in memory an array begins."""
    return array.__array_interface__["data"][0]


def state(value, size=LARGE):
    """Make a state of one large array."""
    return {"x": np.full(size, value, np.uint8)}


def test_the_memory_of_a_copy_is_used_again():
    """When the last copy is gone the next one lies in the same memory."""
    pool = Buffers()
    first = where(pool.copy(state(1))["x"])
    assert where(pool.copy(state(2))["x"]) == first
    assert pool.nbytes == LARGE


@pytest.mark.parametrize("reader", [lambda x: x[5:], lambda x: x.reshape(2, -1).T, lambda x: memoryview(x)[5:]])
def test_memory_that_is_read_is_not_handed_out(reader):
    """As long as one view of a copy lives, later copies leave it alone, and only two blocks are kept."""
    pool = Buffers()
    read = reader(pool.copy(state(1))["x"])
    others = [pool.copy(state(value))["x"] for value in (2, 3, 4)]
    assert set(np.asarray(read).flat) == {1}
    assert [set(other.flat) for other in others] == [{2}, {3}, {4}]
    assert pool.nbytes == 2 * LARGE


def test_a_state_of_another_size_gets_other_memory():
    """A larger state fits, a much smaller one does not keep the large memory, and each copy is right."""
    pool = Buffers()
    for size in (LARGE, 8 * LARGE, LARGE):
        assert (pool.copy(state(7, size))["x"] == np.full(size, 7)).all()
    assert pool.nbytes == LARGE


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["?", "<f4", ">f8", "<i8", "<c16", ml_dtypes.bfloat16]),
            st.integers(0, 70_000),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_copies_equal_the_originals(kinds):
    """Of all dtypes, small and large, contiguous or not, and each apart from the others, copied in parallel too."""
    tensors = {}
    for number, (dtype, size, turned) in enumerate(kinds):
        array = np.arange(2 * size).reshape(2, size).astype(np.dtype(dtype))
        tensors[str(number)] = array.T if turned else array
    pool = Buffers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buffer_pool, "_IN_PARALLEL", 1 << 17)
        copies = pool.copy(tensors)
    for name, array in tensors.items():
        copy = copies[name]
        assert (copy.dtype, copy.shape, copy.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert not np.shares_memory(copy, array)


def test_memory_goes_when_it_is_short(monkeypatch):
    """With less left than is kept it is given back, what is being read excepted; with enough it stays."""
    pool = Buffers()
    read = pool.copy(state(1))["x"]
    pool.copy(state(2))
    pool.release_if_short()
    assert pool.nbytes == 2 * LARGE
    monkeypatch.setattr(resources, "memory", lambda: resources.Memory(total=1 << 30, available=LARGE))
    pool.release_if_short()
    assert pool.nbytes == LARGE
    assert set(read.flat) == {1}
