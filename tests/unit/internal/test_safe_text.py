"""What others wrote steers no terminal and turns no line, wherever it is shown."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path

import pytest

from colabkit._internal.display.progress import progress
from colabkit._internal.display.show import Shown
from colabkit._internal.log import logger, notify, warn
from colabkit.cli import main
from colabkit.errors import NotFoundError

EVIL = "a\x1b[2J\x9b2Jb\x07\rphoto\u202egpj.exe\u2066"
STEERS = ("\x1b", "\x9b", "\x07", "\r", "\u202e", "\u2066", "\x7f")


def steers(text):
    """Say whether a text would do more than stand there."""
    return any(letter in text for letter in STEERS)


def test_an_error_steers_no_terminal():
    """Neither its words nor what JSON, a repr and a notebook show of them."""
    error = NotFoundError(f"there is no {EVIL}", why=EVIL, hint=f"look at {EVIL}\nor not")
    assert not any(map(steers, (str(error), repr(error), *error.to_json().values())))
    assert "or not" in error.hint.splitlines()[1]
    shown = "".join(error._render_traceback_())
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("value", [EVIL, Path("x", EVIL), ValueError(EVIL)], ids=["text", "path", "error"])
def test_lines_that_are_told_steer_no_terminal(value, caplog):
    """Names of files and words of errors are cleaned, numbers stay numbers for who reads the records."""
    with caplog.at_level(logging.INFO, logger="colabkit"):
        logger.propagate = True
        notify("%s has %d bytes", value, 5)
        warn("odd: %s", value)
    assert not any(steers(record.getMessage()) for record in caplog.records)
    assert caplog.records[0].args[1] == 5


def test_bars_and_objects_steer_no_terminal(monkeypatch):
    """The label of a bar, and an object's text, one line and HTML."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    with progress(EVIL) as bar:
        bar._begun = bar._last_line = -100.0  # as after a while
        bar.update(1, 2)

    class Report(Shown):
        def _facts(self):
            return EVIL, [(EVIL, EVIL), ("<script>", "<img src=x onerror=alert(1)>")]

    html = Report()._repr_html_()
    assert "photo" in err.getvalue()
    assert not any(map(steers, (err.getvalue(), repr(Report()), html)))
    assert "<script>" not in html
    assert "<img" not in html


class Terminal(io.StringIO):
    """Says that a person looks."""

    def isatty(self):
        """Yes."""
        return True


def test_a_command_steers_no_terminal_and_changes_nothing_for_a_pipe(tmp_path, monkeypatch):
    """`ls` does the same: a question mark for a person, the very name for a program."""
    source = tmp_path / f"{EVIL}.py"
    source.write_text(f"!pip install numpy  # {EVIL.replace(chr(13), '')}\n")
    texts = []
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["port", str(source), "--diff"]) == 0
        texts.append(stream.getvalue())
    assert not any(letter in texts[0] for letter in ("\x1b[2J", "\x9b", "\x07", "\u202e"))
    assert "\x1b[32m" in texts[0], "a diff has its colours all the same"
    assert "\x1b[2J" in texts[1]
