"""Claims about the errors: one tree, one exit code each, and nothing lost on the way to another process."""

from __future__ import annotations

import copy
import json
import linecache
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
    error = kind("what", why="why", hint="do")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(other) is kind
        assert (other.what, other.why, other.do, str(other)) == ("what", "why", "do", str(error))


CANARY = "Canary9Zq"
SHOWN = [
    f"gs://ada:{CANARY}@bucket/x cannot be opened",
    f"https://{CANARY}@github.com/a/b.git",
    f"did you mean gs://b/x?sig={CANARY}&page=2",
    f"no file at KAGGLE_KEY={CANARY} kaggle datasets download a/b",
    f'write ck.fetch(f"wget --password {CANARY} --user=a {{x}}")',
    f"curl -u ada:{CANARY} -H 'Authorization: Bearer {CANARY}' -H 'Cookie: a={CANARY}' x",
    f"aria2c --http-passwd={CANARY} http://h/x",
    f"no secret named 'hf_{CANARY * 3}'",
]


@pytest.mark.parametrize("text", SHOWN)
def test_no_error_repeats_a_credential(text):
    """Whoever writes a message may quote an address or a line; the root of all errors masks what is in it."""
    error = errors.AddressError(text, why=text, hint=text)
    for told in (str(error), repr(error), json.dumps(error.to_json()), *error._render_traceback_()):
        assert CANARY not in told


def test_what_is_no_credential_stays():
    """Hints name variables, options and addresses, and must stay what one can type."""
    for text in (
        "set HF_TOKEN=… or export KAGGLE_KEY=… before",
        "git+ssh://git@github.com/a/b.git is fine, and so is https://example.org/a@2x.png?page=2&resourcekey=0-x",
        "leave out --password, or use --header",
        "the token of me@example.org is old: sign in anew",
    ):
        assert str(errors.AddressError(text)) == text


def test_the_text_says_only_what_is_known():
    """Lines without content are left out."""
    assert str(errors.ColabKitError("a", why="b", hint="c")) == "a\nWhy: b\nWhat to do: c"
    assert str(errors.StorageError("a")) == "a"


def test_a_notebook_shows_the_users_line_and_folds_the_rest(monkeypatch):
    """IPython asks the error itself: below the folded traceback stand the cell's line, what, why, what to do, more."""
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **_: shown.append(data))
    cell = "import colabkit as ck\nck.open_run('./r', every='<b>often</b>')\n"
    name = "<ipython-input-1-0123456789ab>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(keepends=True), name)
    with pytest.raises(errors.AddressError) as caught:
        exec(compile(cell, name, "exec"), {})  # noqa: S102 - as a kernel does it
    lines = [re.sub(r"\x1b\[\d+m", "", line) for line in caught.value._render_traceback_()]
    assert lines == [
        "AddressError: every='<b>often</b>' is not an interval",
        "cell, line 2",
        "    ck.open_run('./r', every='<b>often</b>')",
        "Why: it takes a time, or a number of steps or epochs, above zero",
        'What to do: write it as "60s", "5 min", "500 steps" or "2 epochs"',
        "More: docs/errors.md#addresserror",
    ]
    assert "<details" in shown[0]["text/html"]
    assert "<b>" not in shown[0]["text/html"]
    monkeypatch.setenv("COLABKIT_TRACEBACK", "full")
    assert caught.value._render_traceback_()[0].startswith("Traceback")
    assert len(shown) == 1
