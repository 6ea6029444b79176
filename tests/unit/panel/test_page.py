"""The panel without a browser: the page to read, the pieces of HTML, the worker."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from pathlib import Path

import pytest

from colabkit._internal.display.curves import curve
from colabkit._internal.log import warn
from colabkit.diagnosis import Diagnosis
from colabkit.diagnosis.base import Finding
from colabkit.drive import Health
from colabkit.errors import DataError
from colabkit.panel import html, setup_panel
from colabkit.panel.actions import Worker
from colabkit.runtime import detect


def test_outside_a_notebook_it_is_a_page():
    """A script gets text and HTML with the machine and the next steps, and nothing live."""
    page = setup_panel()
    assert "ck.fetch(" in str(page)
    assert "ck.fetch(" in page._repr_html_()
    assert "memory" in page._repr_html_()


def test_nothing_from_outside_becomes_markup():
    """File names, messages and metric names are hostile."""
    hostile = '<img src=x onerror="alert(1)">'
    pieces = html.message("ok", hostile) + html.table([(hostile, html.text(hostile))], hostile)
    pieces += curve({hostile: [1.0, 2.0]})
    assert "<img" not in pieces
    assert '"alert' not in pieces


def test_no_line_of_a_log_is_lost_and_endless_text_is_cut():
    """An error keeps its last line, which says what to do, whatever it quotes before; megabytes do not reach a page."""
    logged = tuple(f"2026-08-25T06:01:34.100ZE [1:core] {number} {'x' * 200}" for number in range(3))
    health = Health(mountpoint=Path("/content/drive"), state="dead", log=logged, said="not <connected>")
    drawn = html.table([(name, html.text(value)) for name, value in health.rows()], "Drive")
    assert [line for line in logged if f"<td>{line}</td>" not in drawn] == []
    assert "<td>dead (not &lt;connected&gt;)</td>" in drawn
    told = html.message("problem", f"Drive was not mounted\nWhy: its log says: {' | '.join(logged)}\nWhat to do: wait")
    assert "What to do: wait" in told
    assert len(html.text("x" * 1_000_000)) < 2_000
    assert len(html.text("x\n" * 1_000_000)) < 2_000


def test_a_curve_stands_numbers_that_are_none():
    """NaN and infinity, which a training that fails leaves, are passed over; nothing to draw gives no picture."""
    drawn = curve({"loss": [1.0, float("nan"), float("inf"), 0.5]})
    assert "nan" not in drawn
    assert "0.5 at the end" in drawn
    assert curve({"loss": [float("nan")]}) == curve({}) == ""


@pytest.mark.skipif(find_spec("ipywidgets") is None, reason="ipywidgets is missing: pip install ipywidgets")
def test_a_fix_is_a_button_and_a_flush_without_a_run_is_told(tmp_path, monkeypatch):
    """What the doctor would install, one click plans; a panel that was given no run says so when Flush is pressed."""
    from colabkit.panel.tabs.runtime import RuntimeTab
    from colabkit.panel.widgets import Panel

    monkeypatch.chdir(tmp_path)
    panel, planned = Panel(), []
    tab = RuntimeTab(panel.desk, planned.append, print)
    finding = Finding(severity="warning", what="old", why="", do='pip install -U "packaging>=23" tqdm')
    tab.show(Diagnosis(runtime=detect(), findings=(finding,), checks=("packages",)))
    (fix,) = [one for one in tab._findings.children if hasattr(one, "click")]
    assert fix.description == "Plan: install packaging>=23 tqdm"
    fix.click()
    assert planned == ["packaging>=23\ntqdm"]
    (flush,) = [one for one in panel.desk._buttons if one.description == "Flush"]
    flush.click()
    assert "the panel does not know the run that trains here" in panel.desk.message.value


def test_no_exception_and_no_word_of_a_thread_is_lost():
    """What a task raises and what our functions say in it come to the panel, and it is free for the next one."""
    said, idle = [], threading.Event()
    worker = Worker(lambda kind, words: said.append((kind, words)), lambda busy: None if busy else idle.set())

    def run(task):
        idle.clear()
        before = len(said)
        assert worker.start("working", task)
        assert idle.wait(10)
        while said[-1][0] == "work" or len(said) == before + 1:
            idle.wait(0.01)
        return said[-1]

    def fails():
        warn("colabkit: %s", "half done")
        raise DataError("row 3 is short", hint="mend it")

    def breaks():
        raise ZeroDivisionError

    assert run(fails) == ("problem", "row 3 is short\nWhat to do: mend it")
    assert ("work", "half done") in said
    assert run(breaks)[1].startswith("working: ZeroDivisionError")
    assert run(lambda: "well done") == ("ok", "well done")
