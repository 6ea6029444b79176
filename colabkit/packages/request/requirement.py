"""A requirement that can be asked whether something meets it.

`packaging` reads every requirement there is, and its import alone takes 25 ms. Nine in ten are plain: a name, releases
of digits, a marker that compares the Python or the platform. Those are read here; a test holds the answers equal.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from packaging.requirements import Requirement

_RELEASE = r"\d+(?:\.\d+)*"
_CLAUSE = re.compile(rf"(~=|[=!<>]=|<|>)\s*({_RELEASE})(\.\*)?")
_PLAIN = re.compile(
    r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*"
    r"(?:\[([A-Za-z0-9._\s,-]*)\])?\s*"
    rf"(?P<open>\()?\s*((?:(?:~=|[=!<>]=|<|>)\s*{_RELEASE}(?:\.\*)?\s*(?:,\s*(?=[~=!<>]))?)*)(?(open)\))\s*"
    r"(?:;\s*(.+?)\s*)?"
)
_MARKER = re.compile(r"""(\w+)\s*(==|!=|<=|>=|<|>)\s*(["'])([\w.-]+)\3""")
_VERSION = re.compile(rf"({_RELEASE})(\.post\d+)?(?:\+[\w.-]+)?")


def normal(name: str) -> str:
    """Return a distribution's name in the form in which two spellings are equal.

    Example:
        >>> normal("Google_Cloud.Storage")
        'google-cloud-storage'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, kw_only=True)
class CheckedRequirement:
    """One requirement.

    Attributes:
        text: As it stands in a requirements file.
        name: The distribution's normal name.
        extras: The extras it asks for, in normal form.
        url: The address it must come from, if any.
        marker: Says whether it counts, for one extra ("" for none).
        allows: Says whether a version is good enough.
    """

    text: str
    name: str
    extras: frozenset[str]
    url: str | None
    marker: Callable[[str], bool] | None
    allows: Callable[[str], bool]

    def applies(self, extras: frozenset[str] = frozenset()) -> bool:
        """Say whether it counts on this Python and platform when these extras were asked for."""
        return self.marker is None or any(self.marker(extra) for extra in extras or ("",))


@functools.lru_cache(4096)
def read_need(text: str) -> CheckedRequirement:
    """Read one requirement.

    Raises:
        ValueError: It is none; the message says where it stops being one.

    Example:
        >>> need = read_need("numpy >=2, <3")
        >>> need.allows("2.3.5"), need.allows("3.0")
        (True, False)
    """
    return _plain(text) or _full(text)


def _plain(text: str) -> CheckedRequirement | None:
    """Read a plain requirement without `packaging`; None if it is not plain."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    name, extras, _, specifier, marker = match.groups()
    clauses = [(op, _numbers(release), bool(star)) for op, release, star in _CLAUSE.findall(specifier)]
    if any((star and op not in ("==", "!=")) or (op == "~=" and len(numbers) < 2) for op, numbers, star in clauses):
        return None
    evaluate = None
    if marker:
        evaluate = _plain_marker(marker)
        if evaluate is None:
            return None
    extra_names = [part.strip() for part in (extras or "").split(",")]
    if (
        extras is not None
        and extras.strip()
        and not all(re.fullmatch(r"\w(?:[\w.-]*\w)?", part) for part in extra_names)
    ):
        return None

    def allows(version: str) -> bool:
        have = _VERSION.fullmatch(version)
        if have is None:
            return _full(text).allows(version)
        numbers, is_post = _numbers(have[1]), have[2] is not None
        return all(_holds(op, numbers, want, star=star, is_post=is_post) for op, want, star in clauses)

    return CheckedRequirement(
        text=" ".join(text.split()),
        name=normal(name),
        extras=frozenset(normal(part) for part in extra_names if part),
        url=None,
        marker=evaluate,
        allows=allows,
    )


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


def _holds(op: str, have: tuple[int, ...], want: tuple[int, ...], *, star: bool = False, is_post: bool = False) -> bool:
    """PEP 440 for releases of digits: 1.0 equals 1, 1.0.* is what begins so, and 1.0.post1 comes right after 1.0."""
    if op == "~=":
        return _holds(">=", have, want) and _holds("==", have, want[:-1], star=True)
    length = len(want) if star else max(len(have), len(want))
    left = (have + (0,) * length)[:length]
    right = (want + (0,) * length)[:length]
    is_equal = left == right and (star or not is_post)
    return {
        "==": is_equal,
        "!=": not is_equal,
        "<=": left < right or is_equal,
        ">=": left >= right,
        "<": left < right,
        ">": left > right,
    }[op]


def _plain_marker(text: str) -> Callable[[str], bool] | None:
    """Read comparisons that are joined by `and`; None for all else."""
    comparisons = []
    for part in re.split(r"\s+and\s+", text.removeprefix("(").removesuffix(")") if text.count("(") == 1 else text):
        match = _MARKER.fullmatch(part.strip())
        if match is None:
            return None
        variable, op, _, value = match.groups()
        is_version = variable == "python_version" and re.fullmatch(_RELEASE, value) is not None
        is_name = op in ("==", "!=") and (variable == "extra" or variable in _environment())
        if not (is_version or is_name) or (variable == "python_version" and not is_version):
            return None
        comparisons.append((variable, op, value))

    def evaluate(extra: str) -> bool:
        return all(_compare(variable, op, value, extra) for variable, op, value in comparisons)

    return evaluate


def _compare(variable: str, op: str, value: str, extra: str) -> bool:
    if variable == "python_version":
        return _holds(op, sys.version_info[:2], _numbers(value))
    if variable == "extra":
        return (normal(extra) == normal(value)) is (op == "==")
    return (_environment()[variable] == value) is (op == "==")


@functools.cache
def _environment() -> dict[str, str]:
    return {
        "implementation_name": sys.implementation.name,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_system": platform.system(),
        "sys_platform": sys.platform,
    }


def _full(text: str) -> CheckedRequirement:
    from packaging.markers import default_environment
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    reason = ""
    try:
        requirement = Requirement(text.strip())
    except InvalidRequirement as error:
        reason = str(error)
    if reason:  # raised here: packaging's frames hold a half-made object, whose repr fails in a traceback with locals
        raise ValueError(reason.partition("\n")[0])  # below it packaging quotes the whole text, with its token
    values = cast("dict[str, Any]", default_environment())

    def allows(version: str) -> bool:
        try:
            return requirement.specifier.contains(version, prereleases=True)
        except InvalidVersion:
            return not requirement.specifier

    return CheckedRequirement(
        text=str(requirement),
        name=normal(requirement.name),
        extras=frozenset(map(normal, requirement.extras)),
        url=requirement.url,
        marker=_full_marker(requirement, values),
        allows=allows,
    )


def _full_marker(requirement: Requirement, values: dict[str, Any]) -> Callable[[str], bool] | None:
    marker = requirement.marker
    if marker is None:
        return None
    return lambda extra: marker.evaluate({**values, "extra": extra})
