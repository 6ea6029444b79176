"""Curves of a training as SVG: one small chart a metric, with axes, that reads well on a light and on a dark page."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 300, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 24
_COLOURS = ("#3d7fd9", "#d9483b")
"""Training and validation: 3:1 or more on white and on the notebooks' dark grey."""


def curve(series: Mapping[str, Sequence[float]], *, at_most: int = 4) -> str:
    """Draw numbers over epochs, `loss` and `val_loss` in one chart, each metric on a scale of its own.

    Args:
        series: The numbers by name; what is not finite is left out.
        at_most: How many charts.

    Returns:
        HTML; "" where there is nothing to draw.

    Example:
        >>> curve({"loss": [2.0, 1.0], "val_loss": [2.5, 1.5], "accuracy": [0.1, 0.6]}).count("<svg")
        2
    """
    drawn = {name: [float(value) for value in values] for name, values in series.items()}
    drawn = {name: values for name, values in drawn.items() if any(math.isfinite(value) for value in values)}
    names = sorted({name.removeprefix("val_") for name in drawn}, key=lambda name: (name != "loss", name))
    charts = [_chart(name, drawn.get(name, []), drawn.get(f"val_{name}", [])) for name in names[:at_most]]
    if not charts:
        return ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(charts)}</div>'


def _chart(name: str, training: Sequence[float], validation: Sequence[float]) -> str:
    finite = [value for value in (*training, *validation) if math.isfinite(value)]
    low, high = min(finite), max(finite)
    if high == low:
        low, high = low - abs(low or 1.0) * 0.05, high + abs(high or 1.0) * 0.05
    epochs = max(len(training), len(validation))

    def x(number: int) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (number / (epochs - 1) if epochs > 1 else 0.5)

    def y(value: float) -> float:
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low)

    parts = [
        f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="currentColor"'
        f' stroke-opacity=".2"/><text x="{_LEFT - 5}" y="{y(value) + 3.5:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (low, (low + high) / 2, high)
    ]
    ticks = sorted({0, (epochs - 1) // 2, epochs - 1})
    parts += [f'<text x="{x(tick):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{tick + 1}</text>' for tick in ticks]
    legend = []
    for colour, label, values, dash in zip(
        _COLOURS, ("training", "validation"), (training, validation), ("", ' stroke-dasharray="5 3"'), strict=True
    ):
        spots = [(x(number), y(value)) for number, value in enumerate(values) if math.isfinite(value)]
        if not spots:
            continue
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if len(spots) <= 40:
            parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in spots]
        last = next(value for value in reversed(values) if math.isfinite(value))
        legend.append((colour, label if validation else "", last))
    at = WIDTH - _RIGHT
    keys = " ".join(f'<tspan fill="{colour}">{label} {last:.4g}</tspan>' for colour, label, last in legend)
    final_values = ", ".join(f"{label or 'training'} {last:.4g}" for _, label, last in legend)
    words = escape(f"{name} over {epochs} epochs: {final_values} at the end", quote=True)
    return (
        f'<svg role="img" aria-label="{words}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        ' style="max-width:100%;font:11px sans-serif" fill="currentColor">'
        f'<text x="{_LEFT}" y="14" font-weight="600">{escape(name)}</text>'
        f'<text x="{at}" y="14" text-anchor="end">{keys}</text>{"".join(parts)}</svg>'
    )
