"""Records behave as frozen, keyword-only dataclasses do."""

from __future__ import annotations

import pytest

from colabkit._internal.record import Record


class Point(Record):
    """Two fields, one with a default."""

    x: int
    y: int = 0


class Named(Point):
    """A derived record with a hidden field."""

    name: str
    _hidden: object = None


def test_frozen():
    """A field can be neither set nor deleted."""
    point = Point(x=1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point.x == 1


def test_fields_are_checked():
    """A missing or misspelt field is a TypeError, as with a dataclass."""
    with pytest.raises(TypeError, match="needs x="):
        Point()
    with pytest.raises(TypeError, match="no field z"):
        Point(x=1, z=2)


def test_inherits_and_hides():
    """Fields of the base come first; one with an underscore is neither shown nor compared."""
    one, other = Named(x=1, name="a", _hidden="secret"), Named(x=1, name="a", _hidden="else")
    assert one.fields() == {"x": 1, "y": 0, "name": "a"}
    assert one == other
    assert hash(one) == hash(other)
    assert "secret" not in repr(one)
    assert one != Point(x=1)
