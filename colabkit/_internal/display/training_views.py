"""What is shown of a training: the lines of a terminal, the markup and the text of a notebook's output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from colabkit._internal.display.training_progress import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from colabkit._internal.display.live import TerminalBlock
    from colabkit._internal.display.training_progress import TrainingProgress

_ROWS = 12  # epochs of a notebook's table; of the rest the curves tell


def live_lines(progress: TrainingProgress, below: Iterable[str], block: TerminalBlock) -> list[str]:
    """Return the lines of a terminal that are drawn again: a bar with words, and what stands below it."""
    width = block.width
    share = progress.share
    words = progress.words()
    bar = ""
    if share is not None:
        full, empty = ("━", "─") if block.unicode else ("#", "-")
        size = max(10, min(width - len(words) - 6, 30))  # a narrow terminal cuts the words rather than the bar
        bar = full * round(size * share) + empty * (size - round(size * share)) + f" {share:4.0%} "
    lines = [(bar + words)[:width]]
    if last := " · ".join(filter(None, below)):
        last = last if block.unicode else last.replace("·", "|")
        lines.append(f"\x1b[2m{last[:width]}\x1b[0m" if block.colours else last[:width])
    return lines


def columns(values: Iterable[str], epochs: int | None, width: int) -> tuple[str, ...]:
    """Choose what a table of this width has room for."""
    return tuple(sorted(values, key=_order)[: max(1, (width - 2 * len(str(epochs or 999)) - 14) // 13)])


def table_head(names: Sequence[str], epochs: int | None, block: TerminalBlock) -> str:
    """Return the first line of a terminal's table."""
    head = f"{'epoch':>{2 * len(str(epochs or 999)) + 1}}" + "".join(f"{name[-12:]:>13}" for name in names)
    head += f"{'time':>9}"
    return f"\x1b[1m{head}\x1b[0m" if block.colours else head


def table_line(progress: TrainingProgress, names: Sequence[str], values: Mapping[str, float], seconds: float) -> str:
    """Return the line of an epoch that has ended."""
    number = len(str(progress.epochs or 999))
    place = f"{progress.epoch + 1}/{progress.epochs}" if progress.epochs else f"{progress.epoch + 1}"
    cells = "".join(f"{values[name]:>13.4f}" for name in names)
    return f"{place:>{max(5, 2 * number + 1)}}{cells}{duration(seconds):>9}"


def plain(progress: TrainingProgress, headline: str, below: Iterable[str]) -> str:
    """Return a notebook's output as text."""
    names = sorted(progress.history, key=_order)
    lines = [headline]
    if progress.rows:
        lines.append("epoch" + "".join(f"{name:>14}" for name in names) + f"{'time':>10}")
        for epoch, seconds in progress.rows:
            cells = "".join(f"{_at(progress.history[name], epoch):>14}" for name in names)
            lines.append(f"{epoch + 1:>5}{cells}{duration(seconds):>10}")
    return "\n".join([*lines, *filter(None, below)])


def html(progress: TrainingProgress, headline: str, below: Iterable[str], curves: str, *, bar: str) -> str:
    """Return a notebook's output as markup.

    Args:
        progress: The training.
        headline: Its first line.
        below: The last line, in parts.
        curves: A drawing of what it measured.
        bar: "" for none, "waits" for one without a value, "counts" for one that shows the share of the epoch.
    """
    from html import escape

    words = escape(headline, quote=True)
    shown_bar = ""
    if bar:
        share = progress.share
        value = f' value="{share:.4f}"' if share is not None and bar == "counts" else ""
        shown_bar = f'<progress max="1"{value} aria-label="{words}" style="width:220px;margin-right:10px"></progress>'
    names = sorted(progress.history, key=_order)
    cell = "text-align:right;padding:1px 12px;border:0"
    head = "".join(f'<th style="{cell}">{escape(name)}</th>' for name in ("epoch", *names, "time"))
    rows = []
    for epoch, seconds in progress.rows[-_ROWS:]:
        values = [str(epoch + 1), *(_at(progress.history[name], epoch) for name in names), duration(seconds)]
        rows.append("<tr>" + "".join(f'<td style="{cell}">{escape(value)}</td>' for value in values) + "</tr>")
    table = ""
    if rows:
        more = len(progress.rows) - len(rows)
        before = f'<div style="opacity:.75">and {more} epochs before</div>' if more else ""
        table = f'<table style="border-collapse:collapse;font-size:13px"><tr>{head}</tr>{"".join(rows)}</table>{before}'
    last = " · ".join(escape(line) for line in below if line)
    return (
        f'<div class="ck-training" style="font:13px sans-serif;line-height:1.5"><div>{shown_bar}{words}</div>'
        f'{table}{curves}<div style="opacity:.75">{last}</div></div>'
    )


def _order(name: str) -> tuple[bool, bool, str]:
    return name.removeprefix("val_") != "loss", name.startswith("val_"), name


def _at(values: list[float], epoch: int) -> str:
    return f"{values[epoch]:.4f}" if epoch < len(values) and not math.isnan(values[epoch]) else "-"
