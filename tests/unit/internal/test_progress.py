"""The display fits the place: silent, a function, a line now and then, a bar."""

import io
import os
import pty
import subprocess
import sys
import termios

from colabkit._internal.display import progress as module
from colabkit._internal.display.progress import amount, progress


class Clock:
    """A clock that tests move."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(monkeypatch):
    """Where no bar fits, a long task tells its share, rate and time left; nothing goes to stdout."""
    errors, clock = io.StringIO(), Clock()
    monkeypatch.setattr(sys, "stderr", errors)
    lines = module._Lines("data.zip", "B", clock)
    for second in range(0, 26, 5):
        clock.now = second
        lines.update(second * 1e6, 100e6)
    lines.close()
    lines.close()
    assert errors.getvalue().splitlines() == [
        "data.zip: 10.0 MB of 100.0 MB (10%), 1.0 MB/s, 90 s left",
        "data.zip: 20.0 MB of 100.0 MB (20%), 1.0 MB/s, 80 s left",
        "data.zip: 25.0 MB of 100.0 MB (25%), 1.0 MB/s, 75 s left",
    ]


def test_a_short_task_says_nothing_in_a_log(capsys):
    """A task of less than ten seconds leaves no line."""
    with progress("data.zip") as bar:
        bar.update(10, 10)
    assert capsys.readouterr() == ("", "")


def test_the_rate_leaves_out_what_an_earlier_run_had_done(monkeypatch):
    """After a resume the rate is today's, not that of the whole file."""
    errors, clock = io.StringIO(), Clock()
    monkeypatch.setattr(sys, "stderr", errors)
    lines = module._Lines("a", "B", clock)
    lines.update(80e6, 100e6)
    clock.now = 10
    lines.update(90e6, 100e6)
    assert "1.0 MB/s, 10 s left" in errors.getvalue()


def test_silence_is_silent_and_a_function_is_called(capsys):
    """False shows nothing; a function gets what is done and the total."""
    with progress("a", show=False) as bar:
        bar.update(1, 2)
    calls = []
    with progress("a", show=lambda *numbers: calls.append(numbers)) as bar:
        bar.update(1)
        bar.update(2, 2)
    assert calls == [(1, None), (2, 2)]
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_on_stderr():
    """On a terminal tqdm draws; stdout stays clean for what the command prints."""
    code = (
        "from colabkit._internal.display.progress import progress\n"
        "with progress('data.zip') as bar:\n    bar.update(5, 10); bar.update(10, 10)\n"
    )
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.run([sys.executable, "-c", code], stderr=terminal, stdout=subprocess.PIPE, check=True)
    os.close(terminal)
    drawn = os.read(main, 65536).decode()
    os.close(main)
    assert done.stdout == b""
    assert "data.zip: 100%" in drawn


def test_amounts_read_as_people_say_them():
    """Bytes in powers of ten, everything else as it is."""
    assert [amount(count) for count in (0, 999, 1000, 5_400_000_000, 3e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "5.4 GB",
        "3000.0 TB",
    ]
