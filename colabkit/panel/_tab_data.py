"""The tab Data: paste any source, watch it come, see where it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._tools.progress import amount
from colabkit.panel import _html
from colabkit.transfer import fetch_details, listing

if TYPE_CHECKING:
    from colabkit.panel._desk import Desk

_EVERY = 0.2  # seconds between two drawings
_FULL = 1000
_SHOWN = 8


class DataTab:
    """A source, its progress, its place."""

    title = "Data"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._source = desk.text("Source", placeholder="https://…, kaggle:…, a Drive link, gs://…, a curl command")
        self._to = desk.text("To", placeholder="the cache, which all runs share")
        self._bar = desk.widgets.IntProgress(min=0, max=_FULL, layout=desk.widgets.Layout(width="98%", height="16px"))
        self._amount = desk.html()
        self._here = desk.html()
        fetch = desk.button("Fetch", self._fetch, style="primary")
        stop = desk.button("Stop", desk.worker.stop, always=True)
        self.widget = desk.column(
            desk.html(_html.hint("What arrives is whole and verified, or not there at all.")),
            self._source,
            self._to,
            desk.actions(fetch, stop),
            self._bar,
            self._amount,
            self._here,
        )
        self.show()

    def show(self) -> None:
        """List what earlier fetches left."""
        rows = [
            (receipt.path.name[:40], f"{_html.text(receipt.path)}<br>{_html.text(receipt.source)}")
            for receipt in listing()[:_SHOWN]
        ]
        self._here.value = _html.table(rows, "fetched before") if rows else ""

    def _fetch(self) -> None:
        source, to = self._source.value.strip(), self._to.value.strip() or None
        self._bar.value, self._amount.value = 0, ""
        drawn = 0.0

        def watch(done: float, total: float | None) -> None:
            nonlocal drawn
            self._desk.worker.check()
            now = time.monotonic()
            if now - drawn >= _EVERY or done == total:
                drawn = now
                self._draw(done, total)

        def work() -> str:
            fetched = fetch_details(source, to, progress=watch)
            self._draw(1, 1)
            self._amount.value = _html.table([("lies at", _html.text(fetched.path))], "the fetched file")
            self.show()
            return f"{'was there already' if fetched.from_cache else 'fetched'}: {amount(fetched.size)}"

        if self._desk.worker.start("fetching", work):
            where = f", {to!r}" if to else ""
            self._desk.note_code("data", f"data = ck.fetch({_shown(source)!r}{where})")

    def _draw(self, done: float, total: float | None) -> None:
        if total:
            self._bar.value = int(_FULL * done / total)
            self._amount.value = f"<div>{amount(done)} of {amount(total)} ({done / total:.0%})</div>"
        else:
            self._amount.value = f"<div>{amount(done)}</div>"


def _shown(source: str) -> str:
    """The source for the Code tab, which is saved with the notebook: one that carries a secret is not repeated."""
    from colabkit.setup_file import is_safe_to_show

    return source if is_safe_to_show(source) else "…"
