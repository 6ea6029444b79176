"""Claims about the errors: one tree, one exit code each, and nothing lost on the way to another process."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from colabkit import errors

CLASSES = [getattr(errors, name) for name in errors.__all__]


def test_the_tree_in_the_docstring_is_the_tree():
    """Each line of the documented tree names a class with that parent, exit code and builtin parent, and none lacks."""
    above, found = {}, set()
    for line in errors.__doc__.split("```")[1].strip().splitlines():
        indent, name, code, text = re.fullmatch(r"([│├└─ ]*)(\w+) +(\d+)(.*)", line).groups()
        kind, depth = getattr(errors, name), len(indent) // 4
        above[depth] = kind
        found.add(name)
        bases = [base for base in kind.__bases__ if base.__module__ == "builtins"]
        assert kind.exit_code == int(code)
        if depth:
            assert kind.__bases__[0] is above[depth - 1], name
            builtin = re.search(r"\((\w+)\)", text)
            assert [base.__name__ for base in bases] == ([builtin[1]] if builtin else []), name
    assert found == set(errors.__all__)


def test_every_class_is_listed():
    """`__all__` is sorted and holds every error of the module."""
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert errors.__all__ == sorted(defined)


def test_exit_codes_tell_errors_apart():
    """No two classes share an exit code, and none takes one that has a meaning already."""
    codes = [kind.exit_code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 2, 130} & set(codes)


@pytest.mark.parametrize("kind", CLASSES)
def test_nothing_is_lost_by_pickling(kind):
    """An error that crosses to another process keeps what, why, do and its text."""
    error = kind("what", why="why", do="do")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(other) is kind
        assert (other.what, other.why, other.do, str(other)) == ("what", "why", "do", str(error))


def test_the_text_says_only_what_is_known():
    """Lines without content are left out."""
    assert str(errors.ColabKitError("a", why="b", do="c")) == "a\nWhy: b\nWhat to do: c"
    assert str(errors.StorageError("a")) == "a"
