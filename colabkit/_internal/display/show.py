"""How an object shows itself as the last line of a cell: a short text, and the same as HTML."""

from __future__ import annotations

from colabkit._safe_text import safe_text

TYPE_CHECKING = False  # `typing` itself would cost 8 ms
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    Facts: TypeAlias = tuple[str, list[tuple[str, object]]]

_LONGEST = 1200  # characters of a value
_CELL = "text-align:left;vertical-align:top;padding:2px 14px 2px 0;border:0"


class Shown:
    """Gives a class its text and its HTML in a notebook; `_facts` says what is in them.

    Example:
        >>> class Point(Shown):
        ...     def _facts(self):
        ...         return "Point", [("x", 1), ("y", None)]
        >>> Point()
        <Point: x 1>
        >>> "<th" in Point()._repr_html_()
        True
    """

    def _facts(self) -> Facts:
        """Return a title and named values; None and "" are left out. By default the lines of `str()`."""
        first, *rest = str(self).splitlines() or [""]
        return first, [("", line) for line in rest]

    def _picture(self) -> str:
        """Return more HTML, to stand below the table; by default there is none."""
        return ""

    def _line(self) -> str:
        """Return it in one line."""
        title, rows = self._facts()
        facts = ", ".join(f"{name} {value}".strip() for name, value in rows if value not in (None, ""))
        return safe_text(f"<{title}: {facts}>" if facts else f"<{title}>")

    def __repr__(self) -> str:  # alone here: IPython takes a class's own `__repr__` before `_repr_pretty_` of its base
        return self._line()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        nested = cycle or len(printer.stack) > 1  # inside a list one line is enough
        printer.text(repr(self) if nested else plain(*self._facts()))

    def _repr_html_(self) -> str:
        return table(*self._facts()) + self._picture()


def plain(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Write facts as lines.

    Example:
        >>> print(plain("digits", [("loss", 0.5), ("accuracy", 0.9)]))
        digits
          loss      0.5
          accuracy  0.9
    """
    facts = [(safe_text(name), safe_text(str(value))) for name, value in rows if value not in (None, "")]
    width = max((len(name) for name, _ in facts), default=0)
    return "\n".join(
        [safe_text(title), *(f"  {name:<{width}}  {value}" if width else f"  {value}" for name, value in facts)]
    )


def table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """Write facts as a table that reads well in a light and in a dark notebook."""
    from html import escape  # 5 ms, and nobody needs it before a cell shows something

    facts = [(safe_text(name), safe_text(_cut(value))) for name, value in rows if value not in (None, "")]
    body = "".join(
        f'<tr style="background:none"><th scope="row" style="{_CELL};font-weight:600;white-space:nowrap">'
        f'{escape(name)}</th><td style="{_CELL};overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for name, value in facts
    )
    grid = f'<table style="border-collapse:collapse;margin:2px 0">{body}</table>' if body else ""
    return f'<div class="ck-shown"><div style="font-weight:600">{escape(safe_text(title))}</div>{grid}</div>'


def number(value: float) -> str:
    """Write a metric: four decimals where that is enough.

    Example:
        >>> number(0.97754), number(3.2e-7), number(12345.678)
        ('0.9775', '3.2e-07', '12345.7')
    """
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1000 else f"{value:.6g}"


def _cut(value: object) -> str:
    words = str(value)
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} …"
