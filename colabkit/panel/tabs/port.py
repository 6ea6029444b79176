"""The tab Port: a notebook as it is, what would change in it, and the new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit import config
from colabkit.panel import html
from colabkit.port import port
from colabkit.runtime.frontend import running_shell

if TYPE_CHECKING:
    from colabkit.panel.widget_kit import WidgetKit
    from colabkit.port import Ported

_LONGEST = 20_000  # letters of a difference
_COLOURS = {"+": "#1a7f37", "-": "#b42318", "@": "#6b7280"}


class PortTab:
    """A notebook's path, the difference, and the new file."""

    title = "Port"

    def __init__(self, desk: WidgetKit) -> None:
        self._desk = desk
        self.path = desk.text("Notebook", value=_own(), placeholder="train.ipynb")
        self.keep = desk.text(
            "Keep in", placeholder="nowhere; drive:data lets later sessions take downloads from there"
        )
        self.result = desk.html()
        self.widget = desk.column(
            desk.html(html.hint("What sets up and trains is rewritten so that it survives; none of it is run.")),
            self.path,
            self.keep,
            desk.actions(desk.button("Show", self.show), desk.button("Write", self.write, style="primary")),
            self.result,
        )

    def show(self) -> None:
        """Show what would change."""
        self._start("reading", write=False)

    def write(self) -> None:
        """Write the new notebook beside the old one."""
        self._start("writing", write=True)

    def _start(self, name: str, *, write: bool) -> None:
        path, keep = self.path.value.strip(), self.keep.value.strip() or None
        more = f", keep={keep!r}" if keep else ""
        line = f"from colabkit.port import port; print(port({path!r}{more}))"
        self.result.value = ""

        def work() -> str:
            ported = port(path, keep=keep, write=write)
            self.result.value = _drawn(ported)
            where = f"; written to {ported.output}" if ported.output is not None else ""
            return f"{len(ported.changes)} changes{where}"

        done = (lambda: self._desk.note_code("port", line)) if write else None
        self._desk.worker.start(name, work, done=done, may_leave=not write)


def _own() -> str:
    """The file of this notebook, where its server or its editor tells it."""
    names = getattr(running_shell(), "user_ns", {})
    notebook = str(names.get("__vsc_ipynb_file__") or config.environment().get("JPY_SESSION_NAME", ""))
    return notebook if notebook.endswith(".ipynb") else ""


def _drawn(ported: Ported) -> str:
    stays = [(f"cell {kept.cell}", f"{html.text(kept.line[:80])}<br>{html.text(kept.reason)}") for kept in ported.kept]
    lines = "\n".join(
        f'<span style="color:{_COLOURS[line[0]]}">{html.text(line)}</span>' if line[:1] in _COLOURS else html.text(line)
        for line in ported.diff()[:_LONGEST].splitlines()
    )
    diff = f'<pre style="white-space:pre-wrap;font-size:12px;line-height:1.35">{lines}</pre>' if lines else ""
    return diff + (html.table(stays, "stays as it is") if stays else "")
