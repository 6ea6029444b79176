"""Pieces of HTML that read well on a white page and on a dark one, in every frontend."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_COLOURS = {
    "ok": "#137333",
    "note": "#5f6368",
    "work": "#1a56b0",
    "warning": "#9a5200",
    "problem": "#b3261e",
}
"""The grounds of badges with white letters: each has a contrast of 5.5 or more."""

_LINES = ("#1a56b0", "#b3261e", "#137333", "#8430ce")
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
.ck-panel .jupyter-button.mod-primary { background: #1a56b0; color: #fff }
.ck-panel .jupyter-button:disabled { opacity: .55 }
.ck-panel input::placeholder, .ck-panel textarea::placeholder { color: var(--jp-ui-font-color2, #616161); opacity: 1 }
.ck-panel button:focus-visible, .ck-panel input:focus-visible, .ck-panel textarea:focus-visible,
.ck-panel [role=tab]:focus-visible { outline: 2px solid #1a73e8; outline-offset: 1px }
</style>"""


def text(value: object) -> str:
    """Return a value as text that is safe in HTML, cut where it is endless."""
    lines = str(value).split("\n")
    shown = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …" for line in lines[:_LINES_AT_MOST]]
    return escape("\n".join(shown + ["…"] * (len(lines) > _LINES_AT_MOST)))


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


def said(kind: str, words: str, number: int = 0) -> str:
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


def hint(words: str) -> str:
    """Return a line of explanation."""
    return f'<p class="ck-hint">{text(words)}</p>'


def curve(series: Mapping[str, Sequence[float]], *, width: int = 520, height: int = 150) -> str:
    """Draw numbers over epochs as lines, all on one scale; at most four, and a legend with the last of each.

    Args:
        series: The numbers by name.
        width: Of the picture, in pixels.
        height: As for width.
    """
    drawn = {name: [one for one in values if math.isfinite(one)] for name, values in series.items()}
    drawn = dict([(name, values) for name, values in drawn.items() if values][: len(_LINES)])
    if not drawn:
        return ""
    low, high = min(map(min, drawn.values())), max(map(max, drawn.values()))
    lines, legend = [], []
    for colour, (name, values) in zip(_LINES, drawn.items(), strict=False):
        step = (width - 20) / max(1, len(values) - 1)
        spots = [
            (10 + number * step, 10 + (high - one) / ((high - low) or 1.0) * (height - 20))
            for number, one in enumerate(values)
        ]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in spots]
        legend.append(
            f'<span style="margin-right:16px"><span aria-hidden="true" style="background:{colour};display:inline-block;'
            f'width:14px;height:3px;vertical-align:middle"></span> {text(name)} {values[-1]:.4g}</span>'
        )
    words = ", ".join(f"{name} from {values[0]:.4g} to {values[-1]:.4g}" for name, values in drawn.items())
    label = text(f"{max(map(len, drawn.values()))} epochs: {words}")
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' style="max-width:100%;background:#fff;border:1px solid #c4c7c5;border-radius:4px">'
        f"{''.join(lines)}</svg><div>{''.join(legend)}</div>"
    )
