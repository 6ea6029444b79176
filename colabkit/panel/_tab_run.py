"""The tab Run: checkpoints and the curve of a run, also while it trains."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._tools.progress import amount
from colabkit.checkpoint import history, open_run
from colabkit.config import RUNS_DIR
from colabkit.errors import CheckpointError
from colabkit.panel import _html

if TYPE_CHECKING:
    from colabkit.checkpoint import Run
    from colabkit.panel._desk import Desk

_EVERY = 5.0  # seconds
_SHOWN = 5


class RunTab:
    """A run by its address."""

    title = "Run"

    def __init__(self, desk: Desk, run: Run | None) -> None:
        self._desk = desk
        self._run = run
        self._seen = None if run is None else (str(run.dir), run)
        self._off = threading.Event()
        self._where = desk.text("Run", value=f"{RUNS_DIR}/first" if run is None else str(run.dir))
        self._result = desk.html()
        self._watch = desk.widgets.Checkbox(
            value=False, description="Refresh every 5 s, also while a cell trains", indent=False
        )
        self._watch.observe(lambda change: desk.guard("Refresh", lambda: self._switch(change)), names="value")
        self.widget = desk.column(
            self._where,
            desk.actions(
                desk.button("Look", self._look, style="primary"),
                desk.button("Flush", self._flush),
                desk.button("Resume", self._resume),
            ),
            self._watch,
            self._result,
        )

    def _look(self) -> None:
        where = self._where.value.strip()
        self._desk.note_code("run", f"run = ck.open_run({where!r})")
        self._desk.worker.start("looking", lambda: self._draw(where))

    def _draw(self, where: str) -> str:
        run = self._opened(where)
        found = run.checkpoints()
        rows = [
            (f"step {entry.step}", f"{amount(entry.size)}, {_ago(entry.saved_at)}, {_html.text(entry.path.name)}")
            for entry in found[:_SHOWN]
        ]
        more = len(found) - len(rows)
        if more > 0:
            rows.append(("", f"and {more} older"))
        picture = _html.curve(history(run)) if found else ""
        self._result.value = _html.table(rows, "checkpoints") + picture
        if not found:
            return f"{where} has no checkpoint yet"
        return f"{len(found)} checkpoint{'s' * (len(found) > 1)}, the newest at step {found[0].step}"

    def _opened(self, where: str) -> Run:
        """Open the run that is looked at once, not at each look: an opened run has files and threads of its own."""
        if self._seen is None or self._seen[0] != where:
            self._seen = where, open_run(where)
        return self._seen[1]

    def _flush(self) -> None:
        run = self._run
        if run is None:
            raise CheckpointError(
                "the panel does not know the run that trains here",
                do="hand it over: ck.setup_panel(run), or call run.flush() in a cell",
            )
        self._desk.note_code("flush", "run.flush()")

        def flush() -> str:
            run.flush(timeout=600)
            return "everything that was saved is on disk"

        self._desk.worker.start("flushing", flush)

    def _resume(self) -> None:
        self._desk.note_code("run", f"run = ck.open_run({self._where.value.strip()!r})")
        self._desk.note_code("resume", "model.fit(x, y, epochs=10, callbacks=[run.resume()])")
        self._desk.say("note", "a training goes on in a cell: the tab Code has its lines")

    def _switch(self, change: dict[str, Any]) -> None:
        self._off.set()
        if change["new"]:
            self._off = off = threading.Event()
            threading.Thread(target=self._refresh, args=(off,), name="colabkit-panel-watch", daemon=True).start()

    def _refresh(self, off: threading.Event) -> None:
        while not off.is_set():
            self._desk.guard("Refresh", lambda: self._draw(self._where.value.strip()))
            off.wait(_EVERY)


def _ago(when: float) -> str:
    seconds = max(0.0, time.time() - when)
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
