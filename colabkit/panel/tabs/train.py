"""The tab Train: a model, its data, and a training in a process of its own, seen live and stopped at any moment."""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import map_os_errors
from colabkit._internal.disk.paths import expand
from colabkit._internal.display.curves import curve
from colabkit.checkpoint import default_folder
from colabkit.errors import ColabKitError, DataError, named
from colabkit.models import MODELS
from colabkit.panel import html
from colabkit.tracking import read_log

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.panel.widget_kit import WidgetKit

_OWN = "a function of yours"
_DRAW_EVERY = 1.0  # seconds
_LINES = 8


class TrainTab:
    """Starts `colabkit train`, so that the kernel stays free and keeps its memory; SIGTERM saves the exact step."""

    title = "Train"

    def __init__(self, desk: WidgetKit) -> None:
        self._desk = desk
        widgets = desk.widgets
        style = {"description_width": "90px"}
        layout = widgets.Layout(width="98%")
        self._model = widgets.Dropdown(
            options=[*MODELS, _OWN], value="mnist-mlp", description=desk.words("Model"), layout=layout, style=style
        )
        self._build = desk.text("Function", placeholder="train.py:build, which builds and compiles a model")
        self._build.layout.display = "none"
        self.data = desk.text("Data", placeholder="fetched when empty; a file or folder; sample for a first try")
        self._epochs = desk.text("Epochs", placeholder="the model's own number")
        self._time = desk.text("Time", placeholder='no limit; "50 min", or session for until the session ends')
        self._run = desk.text("Run", placeholder=f"{default_folder('MODEL')}")
        self._live = desk.html()
        self._model.observe(lambda _change: self._show_function(), names="value")
        self._process: subprocess.Popen[str] | None = None
        self.widget = desk.column(
            desk.html(
                html.hint("It trains in a process of its own. Stop saves the exact step; Start goes on from it.")
            ),
            self._model,
            self._build,
            self.data,
            self._epochs,
            self._time,
            self._run,
            desk.actions(desk.button("Start", self._start, style="primary")),
            self._live,
        )

    def _show_function(self) -> None:
        self._build.layout.display = None if self._model.value == _OWN else "none"

    def words(self) -> list[str]:
        """Return the command that does what the fields say.

        Raises:
            DataError: A field is not valid.
        """
        model = self._build.value.strip() if self._model.value == _OWN else self._model.value
        if not model:
            raise DataError("no function is named", hint="write it as train.py:build")
        words = ["train", model]
        for option, field in (("data", self.data), ("epochs", self._epochs), ("time", self._time), ("run", self._run)):
            if value := field.value.strip():
                if option == "epochs" and not value.isdecimal():
                    raise DataError(f"Epochs={value} is not a whole number", hint="write 5, or leave it empty")
                words += [f"--{option}", value]
        return words

    def _start(self) -> None:
        words = self.words()
        line = f"!colabkit {shlex.join(words)}"
        self._live.value = ""
        self._desk.worker.start(
            "training",
            lambda: self._train(words),
            done=lambda: self._desk.note_code("train", line),
            stop=self._interrupt,
        )

    def _train(self, words: list[str]) -> str:
        command = [sys.executable, "-m", "colabkit", *words, "--json"]
        where = words[words.index("--run") + 1] if "--run" in words else str(default_folder(_name_of(words[1])))
        begun = drawn = time.monotonic()
        lines: deque[str] = deque(maxlen=_LINES)
        with (
            map_os_errors(command[0]),
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process,
        ):
            self._process = process
            for line in process.stderr or ():
                if _is_noise(line):
                    continue
                lines.append(line.rstrip())
                if time.monotonic() - drawn >= _DRAW_EVERY or len(lines) < _LINES:
                    drawn = time.monotonic()
                    self._draw(where, lines, begun)
            out = process.stdout.read() if process.stdout is not None else ""
        self._process = None
        self._draw(where, lines, begun)
        if process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM):
            return "stopped; the exact step is saved, Start goes on from it"
        value = json.loads(out) if out.strip() else {}
        if "error" in value:
            error = value["error"]
            raise (named(error["type"]) or ColabKitError)(error["what"], why=error["why"], hint=error["do"])
        if process.returncode:
            raise ColabKitError(f"the training ended with {process.returncode}", why="\n".join(lines))
        metrics = ", ".join(f"{name} {number:.4f}" for name, number in sorted(value["metrics"].items()))
        return f"trained: {metrics or 'no test data'}; the model is in {value['run']}"

    def _interrupt(self) -> None:
        if (process := self._process) is not None:
            process.terminate()  # which saves first; SIGINT is ignored below a server that was started with `&`

    def _draw(self, where: str, lines: deque[str], begun: float) -> None:
        picture = ""
        with contextlib.suppress(ColabKitError, OSError, ValueError):
            picture = curve(_by_epoch(expand(where)))
        log = html.text("\n".join(lines))
        seconds = f"{time.monotonic() - begun:.0f} s"
        words = f'<pre style="font-size:12px;white-space:pre-wrap">{log}</pre>'
        self._live.value = f'<div data-ck-training="{seconds}">{picture}{words}</div>'


def _name_of(model: str) -> str:
    return model.rpartition(":")[2] if ".py" in model else model


def _is_noise(line: str) -> bool:
    return any(
        mark in line for mark in ("cpu_feature_guard", "cudart_stub", "port.cc", "absl::InitializeLog", "To enable")
    )


def _by_epoch(folder: Path) -> dict[str, list[float]]:
    by_name: dict[str, list[Any]] = {}
    for record in read_log(folder):
        if record.epoch is not None:
            for name, value in record.values.items():
                by_name.setdefault(name, []).append(value)
    return by_name
