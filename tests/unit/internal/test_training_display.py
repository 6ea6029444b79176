"""The live display of a training: one block on a terminal, plain lines in a log, one output in a notebook."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
import time

import pytest

from colabkit._internal import log
from colabkit._internal.display import live
from colabkit._internal.display.training_display import TrainingDisplay

LOOP = """
import time
from colabkit._internal.log import notify
from colabkit._internal.display.training_display import TrainingDisplay
with TrainingDisplay("digits", epochs=3, saved=lambda: "step 12 saved, 12 mirrored", session_left=7300) as display:
    display.status("compiling")
    for epoch in range(3):
        display.begin_epoch(epoch, 20)
        for step in range(20):
            time.sleep(0.012)
            display.step(step + 1, {"loss": 1.0, "accuracy": 0.5})
            if (epoch, step) == (1, 10):
                notify("a line of somebody else")
        display.end_epoch({"loss": 0.5, "accuracy": 0.9, "val_loss": 0.4, "val_accuracy": 0.93})
"""


def screen(drawn):
    """What a terminal shows after these characters."""
    rows, row, column, at = [""], 0, 0, 0
    while at < len(drawn):
        if code := re.compile(r"\x1b\[(\d*)([A-Za-z])").match(drawn, at):
            if code[2] == "A":
                row -= int(code[1] or 1)
            elif code[2] == "J":
                rows[row] = rows[row][:column]
                del rows[row + 1 :]
            at = code.end()
            continue
        letter, at = drawn[at], at + 1
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row][:column] + letter + rows[row][column + 1 :]
            column += 1
    return rows


@pytest.mark.parametrize(("columns", "colour"), [(60, False), (120, True)])
def test_a_terminal_shows_one_table_and_one_block_below_it(columns, colour):
    """No line is wider than the terminal, a logged line stands between the rows, and nothing of the bar is left."""
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    env |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | ({} if colour else {"NO_COLOR": "1"})
    process = subprocess.Popen([sys.executable, "-c", LOOP], stderr=terminal, stdout=terminal, env=env)
    os.close(terminal)
    drawn = b""
    try:
        while piece := os.read(main, 1 << 16):
            drawn += piece
    except OSError:  # EIO: the other end is closed
        pass
    os.close(main)
    assert process.wait(timeout=60) == 0
    text = drawn.decode()
    seen = [re.sub(r"\x1b\[\d*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", text)]
    assert max(map(len, seen)) < columns
    assert any(re.match(r"[━─]{10}", line) for line in seen)
    assert any("step 12 saved, 12 mirrored" in line for line in seen)
    assert any("compiling" in line for line in seen)
    assert ("\x1b[1m" in text) is colour
    shown = [line for line in screen(text) if line.strip()]
    assert [line.split()[0] for line in shown] == ["epoch", "1/3", "a", "2/3", "3/3"]
    assert ("val_accurac" in shown[0]) is (columns == 120)


def test_a_log_gets_plain_lines(caplog):
    """No escape, a line an epoch, and in a long epoch a line every ten seconds with what is left of it."""
    caplog.set_level("INFO", "colabkit")
    now = [0.0]
    with TrainingDisplay("digits", epochs=2, clock=lambda: now[0]) as display:
        display.begin_epoch(0, 100)
        for step in range(1, 101):
            now[0] += 0.25
            display.step(step, {"loss": 0.5})
        display.end_epoch({"loss": 0.5, "accuracy": 0.75})
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 1 of 2: step 40 of 100, loss 0.5000, 15 s left",
        "epoch 1 of 2: step 80 of 100, loss 0.5000, 5.0 s left",
        "epoch 1 of 2: loss 0.5000, accuracy 0.7500 (25.0 s)",
    ]


def test_a_notebook_gets_one_output_that_is_drawn_again(monkeypatch):
    """A table, curves and what is left, at most twice a second; at the end no bar; values become no markup."""
    shown = []
    block = live.NotebookBlock()
    monkeypatch.setattr(block, "draw", lambda html, plain: shown.append((html, plain)))
    monkeypatch.setattr(live, "open_block", lambda: block)
    now = [0.0]
    with TrainingDisplay("<b>digits</b>", epochs=2, clock=lambda: now[0], session_left=3600) as display:
        display.status("compiling")
        assert len(shown) == 1
        for epoch in range(2):
            display.begin_epoch(epoch, 1000)
            for step in range(1000):
                now[0] += 0.01
                display.step(step + 1, {"loss": 0.5})
            display.end_epoch({"loss": 0.5 / (epoch + 1), "val_loss": float("nan")})
    assert len(shown) < 60
    middle, _ = shown[len(shown) // 2]
    assert "<progress" in middle
    assert "the session ends in 59 min" in middle
    html, plain = shown[-1]
    assert "<progress" not in html
    assert "<b>" not in html
    assert html.count("<tr>") == 3
    assert "<svg" in html
    assert plain.splitlines()[0] == "<b>digits</b>: 2 epochs in 20 s"
    assert "0.2500" in plain


def test_showing_costs_little():
    """Telling the display a step takes microseconds: under 0.5 % of a training of a minute with 30,000 steps."""
    with TrainingDisplay("digits", epochs=1, show=False) as display:
        display.begin_epoch(0, 100_000)
        begun = time.process_time()
        for step in range(30_000):
            display.step(step, {"loss": 0.5})
        assert time.process_time() - begun < 0.3
    assert log.around().__enter__() is None
