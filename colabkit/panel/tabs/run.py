"""The tab Run: checkpoints and the curve of a run, also while it trains."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.curves import curve
from colabkit._internal.display.progress import amount
from colabkit._internal.process.threads import start_thread
from colabkit.checkpoint import history, open_run
from colabkit.checkpoint.management.inspect import survey
from colabkit.checkpoint.management.pack import pack
from colabkit.checkpoint.management.removal import plan_removal, remove
from colabkit.config import RUNS_DIR
from colabkit.errors import CheckpointError, NotFoundError
from colabkit.panel import html

if TYPE_CHECKING:
    from colabkit.checkpoint import Run
    from colabkit.checkpoint.management.removal import Removal
    from colabkit.panel.widget_kit import WidgetKit

_EVERY = 5.0  # seconds
_MAX_ROWS = 5


class RunTab:
    """A run by its address."""

    title = "Run"

    def __init__(self, desk: WidgetKit, run: Run | None) -> None:
        self._desk = desk
        self._run = run
        self._seen = None if run is None else (str(run.dir), run)
        self._off = threading.Event()
        self._where = desk.text("Run", value=f"{RUNS_DIR}/first" if run is None else str(run.dir))
        self._result = desk.html()
        self._pending_removal: Removal | None = None
        self._words = desk.html()
        self._question = desk.column(
            self._words,
            desk.actions(desk.button("Delete it", self._delete), desk.button("Keep it", self._keep)),
        )
        self._question.layout.display = "none"
        self._watch = desk.widgets.Checkbox(
            value=False, description=desk.words("Refresh every 5 s, also while a cell trains"), indent=False
        )
        self._watch.observe(lambda change: desk.guard("Refresh", lambda: self._switch(change)), names="value")
        self.widget = desk.column(
            self._where,
            desk.actions(
                desk.button("Look", self._survey, style="primary"),
                desk.button("Flush", self._flush),
                desk.button("Resume", self._resume),
                desk.button("Download", self._download),
                desk.button("Delete", self._ask),
            ),
            self._question,
            self._watch,
            self._result,
        )

    def _survey(self) -> None:
        where = self._where.value.strip()
        line = f"run = ck.open_run({where!r})"
        done = lambda: self._desk.note_code("run", line)  # noqa: E731
        self._desk.worker.start("looking", lambda: self._draw(where), done=done, may_leave=True)

    def _draw(self, where: str) -> str:
        run = self._opened(where)
        checkpoints = run.checkpoints()
        if run.status().mirror is not None and not checkpoints:
            return self._draw_mirror(where)
        rows = [
            (f"step {entry.step}", f"{amount(entry.size)}, {_ago(entry.saved_at)}, {html.text(entry.path.name)}")
            for entry in checkpoints[:_MAX_ROWS]
        ]
        more = len(checkpoints) - len(rows)
        if more > 0:
            rows.append(("", f"and {more} older"))
        picture = curve(history(run)) if checkpoints else ""
        self._result.value = html.table(rows, "checkpoints") + picture
        if not checkpoints:
            return f"{where} has no checkpoint yet"
        return f"{len(checkpoints)} checkpoint{'s' * (len(checkpoints) > 1)}, the newest at step {checkpoints[0].step}"

    def _draw_mirror(self, where: str) -> str:
        """Look at the mirror itself, where nothing is on this machine: one that does not answer is no empty one."""
        self._result.value = ""
        try:
            mirrored = survey(where)
        except NotFoundError:
            return f"{where} has no checkpoint yet"
        sizes = [(point, max(copy.size for copy in point.copies)) for point in mirrored.points]
        rows = [(f"step {point.step}", f"{amount(size)}, in the mirror") for point, size in sizes[:_MAX_ROWS]]
        self._result.value = html.table(rows, "checkpoints")
        return f"{len(sizes)} checkpoints in the mirror; they come here when the run goes on"

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
                hint="hand it over: ck.setup_panel(run), or call run.flush() in a cell",
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

    def _download(self) -> None:
        """Pack the run into the notebook's folder, and show a link to it below the panel's own table."""
        where = self._where.value.strip()
        self._desk.note_code("download", f"ck.download(ck.open_run({where!r}).pack())")

        def pack_run() -> str:
            packed = pack(where)
            self._result.value = html.file_link(packed.path, f"{packed.path.name}, {amount(packed.size)}")
            return f"packed: {packed.files} files, at step {packed.step}; the link leads to {packed.path}"

        self._desk.worker.start("packing", pack_run)

    def _ask(self) -> None:
        removal = plan_removal(self._where.value.strip())
        stays = f" The copies in {removal.mirror} stay." if removal.mirror else " There is no other copy."
        self._pending_removal = removal
        question = f"Delete {removal.files} files, {amount(removal.bytes)}, of {removal.folder}?"
        self._words.value = html.message("warning", question + stays)
        self._question.layout.display = None

    def _keep(self) -> None:
        self._pending_removal, self._question.layout.display = None, "none"

    def _delete(self) -> None:
        removal = self._pending_removal
        self._keep()
        if removal is None:
            return
        if self._seen is not None and self._seen[1].dir == removal.folder:
            self._seen[1].close()
            self._seen = None
        remove(removal)
        self._result.value = ""
        self._desk.say("ok", f"deleted: {removal.files} files, {amount(removal.bytes)}")

    def _switch(self, change: dict[str, Any]) -> None:
        self._off.set()
        if change["new"]:
            self._off = off = threading.Event()
            start_thread(lambda: self._refresh(off), name="colabkit-panel-watch")

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
