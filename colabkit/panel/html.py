"""Pieces of HTML that read well on a white page and on a dark one, in every frontend."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from colabkit._internal.language import translated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COLOURS = {
    "ok": "#137333",
    "note": "#5f6368",
    "work": "#1a56b0",
    "warning": "#9a5200",
    "problem": "#b3261e",
}
"""The grounds of badges with white letters: each has a contrast of 5.5 or more."""

_LONGEST = 1200  # characters of one line: an error that quotes three lines of a log has some 900
_LINES_AT_MOST = 60

STYLE = """<style>
.ck-panel, .ck-panel .widget-html-content, .ck-panel .jupyter-widget-html-content { font-size: 13px; line-height: 1.5 }
.ck-title { font-size: 16px; font-weight: 600; margin: 0 }
.ck-sub { opacity: .85; margin: 0 }
.ck-table { border-collapse: collapse; margin: 2px 0; font-size: 13px }
.ck-table th, .ck-table td { text-align: left !important; vertical-align: top; padding: 3px 14px 3px 0; border: 0 }
.ck-table th { font-weight: 600; white-space: nowrap }
.ck-table td { overflow-wrap: anywhere; max-width: 520px }
.ck-badge { display: inline-block; color: #fff; border-radius: 9px; padding: 0 9px; font-size: 12px; font-weight: 600;
  white-space: nowrap }
.ck-say { display: flex; gap: 8px; align-items: baseline; padding: 4px 0; overflow-wrap: anywhere;
  white-space: pre-wrap }
.ck-hint { opacity: .85; margin: 0 0 4px 0; white-space: normal; max-width: 680px }
.ck-actions { margin-left: 94px }
.ck-panel .lm-TabBar-tab, .ck-panel .p-TabBar-tab { color: var(--jp-ui-font-color1, #212121) !important }
.ck-panel .lm-TabBar-content, .ck-panel .p-TabBar-content { flex-wrap: wrap !important }
.ck-panel .lm-TabBar-tab, .ck-panel .p-TabBar-tab { flex: 1 0 auto !important; min-width: 0 !important;
  max-width: none !important }
.ck-panel .lm-TabBar-tabLabel, .ck-panel .p-TabBar-tabLabel { overflow: visible !important }
.ck-panel .jupyter-button.mod-primary { background: #1a56b0; color: #fff }
.ck-panel .jupyter-button:disabled { opacity: .55 }
.ck-panel input::placeholder, .ck-panel textarea::placeholder { color: var(--jp-ui-font-color2, #616161); opacity: 1 }
.ck-panel button:focus-visible, .ck-panel input:focus-visible, .ck-panel textarea:focus-visible,
.ck-panel [role=tab]:focus-visible { outline: 2px solid #1a73e8; outline-offset: 1px }
</style>"""


def text(value: object) -> str:
    """Return a value as text that is safe in HTML, cut where it is endless."""
    lines = str(value).split("\n")
    shortened = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …" for line in lines[:_LINES_AT_MOST]]
    return escape("\n".join(shortened + ["…"] * (len(lines) > _LINES_AT_MOST)))


def badge(kind: str, words: str) -> str:
    """Return a word on coloured ground.

    Example:
        >>> badge("ok", "ready")
        '<span class="ck-badge" style="background:#137333">ready</span>'
    """
    return f'<span class="ck-badge" style="background:{_COLOURS[kind]}">{text(words)}</span>'


def table(rows: Iterable[tuple[str, str]], caption: str) -> str:
    """Return a table of names and values; the values are HTML already.

    Args:
        rows: Names and values.
        caption: What a screen reader calls it.
    """
    body = "".join(f'<tr><th scope="row">{text(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f'<table class="ck-table" aria-label="{text(caption)}"><tbody>{body}</tbody></table>'


def message(kind: str, words: str, number: int = 0) -> str:
    """Return a message; a screen reader reads it out.

    Args:
        kind: The badge's kind.
        words: The message.
        number: Tells it from an equal one before it: an equal value would not be sent.
    """
    if kind == "idle":
        return f'<div class="ck-say" role="status" aria-live="polite" data-ck-said="idle">{text(words)}</div>'
    names = {"ok": "done", "work": "working", "problem": "failed", "warning": "note", "note": "note"}
    label = badge(kind, names[kind])
    return (
        f'<div class="ck-say" role="status" aria-live="polite" data-ck-said="{kind}" data-ck-number="{number}">'
        f"{label}<span>{text(words)}</span></div>"
    )


def file_link(path: Path, words: str) -> str:
    """Return a link to a file of the notebook's folder, which the Jupyter server serves; elsewhere its path.

    Example:
        >>> from pathlib import Path
        >>> file_link(Path("a b.zip"), "a b.zip")
        '<p class="ck-hint"><a href="files/a%20b.zip" download>a b.zip</a></p>'
    """
    from urllib.parse import quote

    from colabkit import config
    from colabkit.runtime import frontend

    folder = frontend.notebook_folder(config.environment())
    if not path.absolute().is_relative_to(folder):
        return f'<p class="ck-hint">{text(words)}: {text(path)}</p>'
    place = quote(path.absolute().relative_to(folder).as_posix())
    return f'<p class="ck-hint"><a href="files/{place}" download>{text(words)}</a></p>'


def hint(words: str) -> str:
    """Return a line of explanation."""
    return f'<p class="ck-hint">{text(translated(words))}</p>'
