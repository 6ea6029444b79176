"""A card of a run in Markdown: what was trained on what, how well it does, and with which versions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import read_note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def card_of(name: str, meta: Mapping[str, Any], folder: Path) -> str:
    """Write the card.

    Args:
        name: The run's name.
        meta: What its newest state says of itself.
        folder: The run's folder, whose notes tell the model and the data.

    Example:
        >>> from pathlib import Path
        >>> print(card_of("digits", {"step": 40, "metrics": {"loss": 0.25}}, Path("none")).splitlines()[0])
        # digits
    """
    begun, report = (_note(folder / name) for name in ("training.json", "report.json"))
    rows = [
        ("model", begun.get("model")),
        ("recipe", begun.get("recipe")),
        ("trained by", meta.get("kind")),
        ("steps", meta.get("step")),
        ("epochs", _of(meta.get("epoch"), meta.get("epochs"))),
        ("complete", {True: "yes", False: "no: the same lines go on with it"}.get(bool(meta.get("complete")))),
        ("time", f"{meta['seconds']:.0f} s" if isinstance(meta.get("seconds"), int | float) else None),
        ("data", report.get("data")),
        ("saved", _when(meta.get("saved_at"))),
    ]
    lines = [
        f"# {name}",
        "",
        "A training run packed by colabkit. `colabkit runs unpack FILE` takes it out and proves it;",
    ]
    lines += [f'`ck.open_run("colabkit-runs/{name}")` goes on with it.', "", *_table(("", ""), rows)]
    lines += _section("Metrics", meta.get("metrics"))
    best = meta.get("best")
    if isinstance(best, dict):
        lines += _section("Best state", {key: best.get(key) for key in ("metric", "value", "step", "epoch")})
    lines += _section("Settings", meta.get("settings"))
    lines += _section("Data as the run knows it", meta.get("data"))
    lines += _section("Versions", meta.get("versions"))
    lines += ["", "## Licence", "", "Not stated: say here under which terms the model and its data may be used.", ""]
    return "\n".join(lines)


def _note(path: Path) -> dict[str, Any]:
    note = read_note(path)
    return note if isinstance(note, dict) else {}


def _of(number: Any, total: Any) -> str | None:
    if number is None:
        return None
    return f"{number} of {total}" if total is not None else str(number)


def _when(saved_at: Any) -> str | None:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(saved_at)) if isinstance(saved_at, int | float) else None


def _section(title: str, values: Any) -> list[str]:
    if not isinstance(values, dict) or not values:
        return []
    rows = [(str(key), value) for key, value in values.items()]
    return ["", f"## {title}", "", *_table(("name", "value"), rows)]


def _table(head: tuple[str, str], rows: list[tuple[str, Any]]) -> list[str]:
    filled = [(name, _cell(value)) for name, value in rows if value not in (None, "", {})]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {name} | {value} |" for name, value in filled)]


def _cell(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")[:300]
