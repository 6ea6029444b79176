"""The words that choose members of an archive: each program reads them in its own way."""

from __future__ import annotations

import re

from colabkit._archive.choice import Pattern

_ANY, _IN_ONE_FOLDER = ".", "[^/]"
_BELOW = "(?:/.*)?"


def of_unzip(text: str, *, ignores_case: bool = False) -> Pattern:
    """Read a word as unzip does: the whole path, and a star covers slashes too.

    Example:
        >>> of_unzip("train/*").fits("train/cat/1.jpg"), of_unzip("train").fits("train/1.jpg")
        (True, False)
    """
    plain = text.rstrip("/")
    hint = "" if re.search(r"[*?\[]", text) else f"for all that is in a folder write '{plain}/*'"
    return Pattern(text=text, expression=_glob(text, _ANY), ignores_case=ignores_case, hint=hint)


def of_tar(text: str, *, wildcards: bool, anchored: bool = True) -> Pattern:
    """Read the name of a member as tar does: a folder stands for all that is in it.

    Example:
        >>> of_tar("train", wildcards=False).fits("train/cat/1.jpg"), of_tar("*.jpg", wildcards=False).fits("1.jpg")
        (True, False)
    """
    plain = text.rstrip("/")
    expression = (_glob(plain, _ANY) if wildcards else re.escape(plain)) + _BELOW
    hint = 'names count as they are stored, with "./" where that stands at their beginning'
    if not wildcards and re.search(r"[*?\[]", text):
        hint = "tar takes a star for a letter: write --wildcards before it"
    return Pattern(text=text, expression=expression if anchored else f"(?:.*/)?{expression}", hint=hint)


def left_out_by_tar(text: str) -> Pattern:
    """Read what stands behind tar's --exclude: it may begin at any folder.

    Example:
        >>> left_out_by_tar("*.png").fits("train/cat/1.png"), left_out_by_tar("cat").fits("train/cat/1.png")
        (True, True)
    """
    return Pattern(text=text, expression=f"(?:.*/)?{_glob(text, _ANY)}{_BELOW}")


def of_seven_zip(text: str, *, recursive: bool) -> Pattern:
    """Read a word as 7z does: a star stays in one folder, and a folder stands for all that is in it.

    Example:
        >>> [of_seven_zip("*.png", recursive=recursive).fits("a/1.png") for recursive in (False, True)]
        [False, True]
    """
    *above, last = text.rstrip("/").split("/")
    fixed: list[str] = []
    while recursive and above and not re.search(r"[*?]", above[0]):
        fixed.append(f"{re.escape(above.pop(0))}/")
    parts = "/".join(_glob(part, _IN_ONE_FOLDER, classes=False) for part in (*above, last))
    expression = "".join(fixed) + ("(?:.*/)?" if recursive else "") + parts + _BELOW
    hint = "" if recursive else "a pattern counts for the top folder alone: write -r for all folders"
    return Pattern(text=text, expression=expression, hint=hint)


def _glob(pattern: str, letter: str, *, classes: bool = True) -> str:
    """Translate a pattern into a regular expression that takes no longer the more stars it has."""
    parts = [""]
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        at += 1
        if sign == "*":
            parts.append("")
        elif sign == "?":
            parts[-1] += letter
        elif sign == "\\" and classes and at < len(pattern):
            parts[-1] += re.escape(pattern[at])
            at += 1
        elif sign == "[" and classes and (match := re.compile(r"([!^]?)(\]?[^\]]*)\]").match(pattern, at)):
            parts[-1] += _class(match[2], letter, negated=bool(match[1]))
            at = match.end()
        else:
            parts[-1] += re.escape(sign)
    first, *stars = parts
    if not stars:
        return first
    # The first place where the next part fits is as good as any later one: nothing is tried twice.
    return first + "".join(f"(?>{letter}*?{part})" for part in stars[:-1] if part) + f"{letter}*{stars[-1]}"


def _class(text: str, letter: str, *, negated: bool) -> str:
    """Translate what stands between brackets; a span that runs backwards holds nothing."""
    spans = re.findall(r"(.)-(.)|(.)", text, re.DOTALL)
    inside = "".join(
        re.escape(single) if single else f"{re.escape(first)}-{re.escape(last)}"
        for first, last, single in spans
        if single or first <= last
    )
    if not inside:
        return letter if negated else "(?!)"
    return f"[{'^' if negated else ''}{inside}]"
