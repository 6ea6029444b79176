"""The tab Drive: mount, health, and whether files have arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit import drive
from colabkit.panel import html

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.panel.widget_kit import WidgetKit
    from colabkit.runtime import Runtime


class DriveTab:
    """Google Drive on this machine."""

    title = "Drive"

    def __init__(self, desk: WidgetKit, here: Runtime) -> None:
        self._desk = desk
        self._result = desk.html()
        self._path = desk.text("Path", value=f"{drive.DEFAULT}/MyDrive", placeholder="a file or folder on Drive")
        self.widget = desk.column(
            desk.html(
                html.hint(
                    "What is written to Drive is uploaded later. Mounting asks for your consent, and the kernel waits."
                )
            ),
            desk.actions(
                desk.button("Mount", self._mount, style="primary" if here.host == "colab" else ""),
                desk.button("Health", self._health),
            ),
            self._path,
            desk.actions(desk.button("Has it arrived?", self._uploaded)),
            self._result,
        )

    def _mount(self) -> None:
        # Here and not in the thread: Colab loses the answers to requests of two threads.
        self._desk.say("work", "mounting …")
        self._desk.say("ok", f"mounted at {drive.mount()}")
        self._desk.note_code("drive", "ck.drive.mount()")

    def _health(self) -> None:
        def work() -> str:
            health = drive.health(write=False)
            self._result.value = html.table([(name, html.text(value)) for name, value in health.rows()], "Drive")
            return f"Drive is {health.state}"

        self._start("looking at Drive", work, "ck.drive.health()")

    def _uploaded(self) -> None:
        path = self._path.value.strip()

        def work() -> str:
            upload = drive.uploaded(path, timeout=30)
            self._result.value = html.table([("answer", html.text(upload))], "upload")
            return "it has arrived" if upload else "it has not arrived, or nobody can tell"

        self._start("asking Drive", work, f"ck.drive.uploaded({path!r}, timeout=30)")

    def _start(self, name: str, work: Callable[[], str], line: str) -> None:
        done = lambda: self._desk.note_code("drive", line)  # noqa: E731
        self._desk.worker.start(name, work, done=done, may_leave=True)
