"""The tab Data: paste any source, watch it come, see where it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import amount
from colabkit.panel import html
from colabkit.transfer import fetch_details, listing

if TYPE_CHECKING:
    from colabkit.panel.widget_kit import WidgetKit

_EVERY = 0.2  # seconds between two drawings
_FULL = 1000
_MAX_SHOWN_ROWS = 8


class DataTab:
    """A source, its progress, its place."""

    title = "Data"

    def __init__(self, desk: WidgetKit) -> None:
        self._desk = desk
        self._source = desk.text("Source", placeholder="https://…, kaggle:…, a Drive link, gs://…, a curl command")
        self._to = desk.text("To", placeholder="the cache, which all runs share")
        self._keep = desk.text("Keep in", placeholder="nowhere; drive:data lets later sessions take it from there")
        self._bar = desk.widgets.IntProgress(min=0, max=_FULL, layout=desk.widgets.Layout(width="98%", height="16px"))
        self._amount = desk.html()
        self._here = desk.html()
        fetch = desk.button("Fetch", self._fetch, style="primary")
        self.widget = desk.column(
            desk.html(html.hint("What arrives is whole and verified, or not there at all.")),
            self._source,
            self._to,
            self._keep,
            desk.actions(fetch),
            self._bar,
            self._amount,
            self._here,
        )
        self.show()

    def show(self) -> None:
        """List what earlier fetches left."""
        rows = [
            (receipt.path.name[:40], f"{html.text(receipt.path)}<br>{html.text(receipt.source)}")
            for receipt in listing()[:_MAX_SHOWN_ROWS]
        ]
        self._here.value = html.table(rows, "fetched before") if rows else ""

    def _fetch(self) -> None:
        source, to = self._source.value.strip(), self._to.value.strip() or None
        keep = self._keep.value.strip() or None
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
            fetched = fetch_details(source, to, keep=keep, progress=watch)
            self._draw(1, 1)
            self._amount.value = html.table([("lies at", html.text(fetched.path))], "the fetched file")
            self.show()
            return f"{'was there already' if fetched.from_cache else 'fetched'}: {amount(fetched.size)}"

        where = (f", {to!r}" if to else "") + (f", keep={keep!r}" if keep else "")
        line = f"data = ck.fetch({_display_source(source)!r}{where})"
        self._desk.worker.start("fetching", work, done=lambda: self._desk.note_code("data", line))

    def _draw(self, done: float, total: float | None) -> None:
        if total:
            self._bar.value = int(_FULL * done / total)
            self._amount.value = f"<div>{amount(done)} of {amount(total)} ({done / total:.0%})</div>"
        else:
            self._amount.value = f"<div>{amount(done)}</div>"


def _display_source(source: str) -> str:
    """The source for the Code tab, which is saved with the notebook: one that carries a secret is not repeated."""
    from colabkit.setup_file import is_safe_to_show

    return source if is_safe_to_show(source) else "…"
