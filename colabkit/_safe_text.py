r"""Text that others wrote, as it may be shown: it steers no terminal, and reads in the order in which it is stored.

Names of files, cells of notebooks, words of servers and of packages may hold the escape sequences by which a terminal
moves its cursor, clears its page or sets its title, the marks of Unicode by which `photo\u202egpj.exe` is shown as
`photoexe.jpg`, and halves of letters, which no terminal, log or JSON takes.
"""

from __future__ import annotations

import re

TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks of Unicode that reorder what follows: photo[U+202E]gpj.exe is shown as photoexe.jpg."""

_UNSAFE = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{TURNS}\ud800-\udfff]")
_COLOUR = re.compile("(\x1b\\[(?:0|1|2|3[0-7])?m)")


def safe_text(text: str, *, colours: bool = False) -> str:
    r"""Return a text with a question mark in place of what steers terminals, turns the direction or is half a letter.

    Args:
        text: The text; its line ends and tabs stay.
        colours: Bold, dim and the plain colours stay too.

    Example:
        >>> safe_text("a\x1b[2Jb\r\nphoto\u202egpj.exe"), safe_text("\x1b[31mred\x1b[0m\x07", colours=True)
        ('a?[2Jb\nphoto?gpj.exe', '\x1b[31mred\x1b[0m?')
        >>> safe_text("caf\udce9.csv")
        'caf?.csv'
    """
    if text.isprintable():
        return text
    if colours:
        return "".join(
            part if _COLOUR.fullmatch(part) else _UNSAFE.sub("?", part) for part in _COLOUR.split(_one_end(text))
        )
    return _UNSAFE.sub("?", _one_end(text))


def _one_end(text: str) -> str:
    return text.replace("\r\n", "\n")
