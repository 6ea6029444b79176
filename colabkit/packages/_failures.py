"""An installer's refusal, in our words: the one place that reads what uv and pip say when they fail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from colabkit.errors import (
    AccessError,
    ColabKitError,
    ConflictError,
    DiskFullError,
    InstallerError,
    InstallError,
    NoWheelError,
    OfflineError,
    PackageNotFoundError,
    ProtectedPackageError,
    SiteError,
)
from colabkit.packages._protect import KERNEL_STACK
from colabkit.packages._requirements import masked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colabkit.packages._request import Failure, Request

_LONGEST = 1200  # characters of an installer's explanation; the cause is in the first of them
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# The first row whose pattern is found decides: "cannot reach" before "not found" (pip says both when it is offline),
# "no file for this Python" before "conflict" (uv words it as one).
_KINDS: tuple[tuple[str, type[ColabKitError], str, str], ...] = (
    (
        r"externally[- ]managed",
        SiteError,
        "this Python belongs to the operating system and refuses to be changed (PEP 668)",
        "make an environment of your own, `python -m venv ENV`, and run this in it",
    ),
    (
        r"No space left on device|os error 28\b",
        DiskFullError,
        "the disk is full",
        "free some space; `colabkit doctor` says where it went",
    ),
    (
        r"Permission denied|Read-only file system|os error (?:13|30)\b",
        SiteError,
        "the folder of this Python's packages refuses to be written",
        "make an environment of your own, `python -m venv ENV`, and run this in it",
    ),
    (
        r"[Ff]ile not found: |Could not open requirements file|Couldn't parse requirement in|Invalid requirement|"
        r"Failed to parse: `uv\.toml`|is not a valid (?:value|setting)|invalid value ",
        InstallerError,
        "a setting of the installer is broken",
        "look at the variables UV_… and PIP_… of this process and at uv.toml and pip.conf",
    ),
    (
        r"network was disabled|error sending request|tcp connect error|dns error|[Cc]onnection refused|"
        r"Failed to establish a new connection|name resolution|timed out|offline",
        OfflineError,
        "the package index cannot be reached",
        "check the network; on Kaggle, Internet must be switched on in the notebook's settings",
    ),
    (
        r"\b(?:401|403)\b.*(?:Unauthorized|Forbidden|[Cc]lient [Ee]rror)|status code: 40[13]",
        AccessError,
        "the package index refuses us",
        "pass the index with its credentials as install(..., index_url=…), or put them into ~/.netrc",
    ),
    (
        r"no wheels? with a matching|no usable wheels|does not satisfy Python|require[sd]? a different python|"
        r"Failed to build|metadata-generation-failed|Failed building wheel|no source distribution|"
        r"requires? Python ?[<>=]|not a supported wheel|is not compatible with",
        NoWheelError,
        "nothing of it fits this Python",
        "ask for another version, or pin the runtime's version to one with an older Python",
    ),
    (
        r" depends on |conflicting dependencies|ResolutionImpossible|are incompatible",
        ConflictError,
        "these versions cannot go together",
        "ask for versions that allow each other",
    ),
    (
        r"was not found in the|there (?:is|are) no versions? of|No matching distribution|is available and|"
        r"Could not find a version|not found in the provided",
        PackageNotFoundError,
        "the package index has no such package or version",
        "check the spelling and the version on https://pypi.org",
    ),
    (
        r"No solution found",
        ConflictError,
        "these versions cannot go together",
        "ask for versions that allow each other",
    ),
)


def explain(failure: Failure, request: Request) -> ColabKitError:
    """Return the error that says what an installer's failure means.

    Args:
        failure: What the installer left.
        request: What it was asked.
    """
    said = _ANSI.sub("", failure.done.err or failure.done.out)
    what = f"{failure.installer} cannot install {', '.join(masked(str(one.requirement)) for one in request.wanted[:5])}"
    if len(request.wanted) > 5:  # noqa: PLR2004 - a line's worth
        what += f" and {len(request.wanted) - 5} more"
    why = _reason(said)
    for pattern, kind, summary, step in _KINDS:
        if re.search(pattern, said):
            break
    else:
        kind, summary, step = InstallError, "", "see the reason above; the environment was left as it was"
    if failure.done.code is None:
        kind, summary, step = InstallerError, "", "check the installer, or take it off PATH to fall back to pip"
    if issubclass(kind, ConflictError) and (mentioned := _named(request.held, said)):
        return _held_conflict(what, why, mentioned)
    return kind(f"{what}: {summary}" if summary else what, why=why, do=step)


def _held_conflict(what: str, why: str, mentioned: list[str]) -> ConflictError:
    stack = [name for name in mentioned if name in KERNEL_STACK]
    if stack:
        return ProtectedPackageError(
            f"{what}: it would change {', '.join(stack)}, on which the running kernel stands",
            why=why,
            do="ask for another version; force=True changes it all the same, and then the kernel may not start again",
        )
    return ConflictError(
        f"{what}: it does not fit {', '.join(mentioned)}, which this image has built for its hardware",
        why=why,
        do=f"ask for another version, or ask for {' and '.join(mentioned)} by name too, or pass constrain=False",
    )


def _named(names: Iterable[str], text: str) -> list[str]:
    plain = text.lower().replace("_", "-")
    return [name for name in names if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", plain)]


def _reason(said: str) -> str:
    """The installer's explanation in a few plain lines, without its ornaments."""
    lines = [re.sub(r"^[\s×╰─▶│├]+", "", line).rstrip() for line in said.splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"(?i)error\b|No solution", line)), 0)
    wordy = [re.sub(r"(?i)^(?:error|cause|hint): *", "", line) for line in lines[start:] if line]
    text = masked(" ".join(line for line in wordy if not line.startswith("Using Python")))
    text = text.removeprefix("No solution found when resolving dependencies: ")
    text = text.removeprefix("No solution found when resolving dependencies ")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
