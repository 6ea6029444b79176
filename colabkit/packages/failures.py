"""An installer's refusal, in our words: the one place that reads what uv and pip say when they fail."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from dataclasses import dataclass
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
from colabkit.packages.constraints import KERNEL_STACK
from colabkit.packages.request.requirements_file import masked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from colabkit.packages.installers.request import Failure, Request

_NAMED = 5  # requirements in a line
_LONGEST = 1200  # characters of an installer's explanation; the cause is in the first of them
_LOGGED = re.compile(r"\d{4}-\d\d-\d\dT[\d:,]+   ?(\s*.*)")
"""A line of a build in pip's log: indented, behind the time."""
_LAST = 6  # lines of a build that failed
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What some words of an installer mean."""

    words: tuple[str, ...]
    error: type[ColabKitError]
    summary: str
    do: str


_OWN_ENVIRONMENT = "make an environment of your own, `python -m venv ENV`, and run this in it"
_OTHER_VERSIONS = "ask for versions that allow each other"

# The first whose words are found decides: "cannot reach" before "not found" (pip says both when it is offline),
# "no file for this Python" before "conflict" (uv words it as one).
_KINDS = (
    _Kind(
        words=(r"externally[- ]managed",),
        error=SiteError,
        summary="this Python belongs to the operating system and refuses to be changed (PEP 668)",
        do=_OWN_ENVIRONMENT,
    ),
    _Kind(
        words=(r"No space left on device", r"os error 28\b"),
        error=DiskFullError,
        summary="the disk is full",
        do="free some space; `du -sh ~/.cache/*` shows what caches hold",
    ),
    _Kind(
        words=(r"Permission denied", r"Read-only file system", r"os error (?:13|30)\b"),
        error=SiteError,
        summary="the folder of this Python's packages refuses to be written",
        do=_OWN_ENVIRONMENT,
    ),
    _Kind(
        words=(
            r"[Ff]ile not found: ",
            r"Could not open requirements file",
            r"Couldn't parse requirement",
            r"Invalid requirement",
            r"nvalid value ",
        ),
        error=InstallerError,
        summary="a setting of the installer is broken",
        do="look at the variables UV_… and PIP_… of this process, at uv.toml and at pip.conf",
    ),
    _Kind(
        words=(
            r"invalid peer certificate",
            r"certificate verify failed",
            r"CERTIFICATE_VERIFY_FAILED",
            r"UnknownIssuer",
            r"self[- ]signed certificate",
            r"SSLError",
        ),
        error=AccessError,
        summary="the certificate of the package index is not trusted here",
        do="if it is your own index or a proxy of yours, set SSL_CERT_FILE to its certificate; else check the address"
        " and this machine's clock",
    ),
    _Kind(
        words=(r"tunnel error", r"[Tt]unnel connection failed", r"ProxyError", r"\b407\b", r"proxy connect"),
        error=OfflineError,
        summary="the proxy refuses the way to the package index",
        do="check the variables HTTPS_PROXY and NO_PROXY, and the proxy's user and password in them",
    ),
    _Kind(
        words=(
            r"network was disabled",
            r"error sending request",
            r"tcp connect error",
            r"dns error",
            r"[Cc]onnection refused",
            r"Failed to establish a new connection",
            r"name resolution",
            r"timed out",
        ),
        error=OfflineError,
        summary="the package index cannot be reached",
        do="check the network; on Kaggle, Internet must be switched on in the notebook's settings",
    ),
    _Kind(
        words=(r"\b40[13]\b.*(?:Unauthorized|Forbidden)", r"(?:[Ss]tatus code|[Cc]lient [Ee]rror).{0,9}\b40[13]\b"),
        error=AccessError,
        summary="the package index refuses access",
        do="pass the index with its credentials as install(..., index_url=…), or put them into ~/.netrc",
    ),
    _Kind(
        words=(
            r"build backend returned an error",
            r"metadata-generation-failed",
            r"Failed building wheel",
            r"subprocess-exited-with-error",
        ),
        error=NoWheelError,
        summary=f"its source code cannot be built on this Python {sys.version_info.major}.{sys.version_info.minor}",
        do="ask for a version that has a wheel, or install what the reason above says is missing",
    ),
    _Kind(
        words=(
            r"no wheels? with a matching",
            r"no usable wheels",
            r"from source is disabled",
            r"[Bb]uilding source distributions",
            r"does not satisfy Python",
            r"require[sd]? a different python",
            r"no source distribution",
            r"Failed to build",
            r"is not a supported wheel",
            r"is incompatible with",
        ),
        error=NoWheelError,
        summary=f"nothing of it fits this Python {sys.version_info.major}.{sys.version_info.minor}",
        do="ask for another version; on Colab an older runtime version has an older Python",
    ),
    _Kind(
        words=(r" depends on ", r"conflicting dependencies", r"ResolutionImpossible", r"conflict is caused"),
        error=ConflictError,
        summary="these versions cannot go together",
        do=_OTHER_VERSIONS,
    ),
    _Kind(
        words=(
            r"was not found in the",
            r"there (?:is|are) no versions? of",
            r"No matching distribution",
            r"(?:is|are) available and",
            r"Could not find a version",
        ),
        error=PackageNotFoundError,
        summary="the package index has no such package or version",
        do="check the spelling and the version on https://pypi.org",
    ),
    _Kind(
        words=(r"No solution found",),
        error=ConflictError,
        summary="these versions cannot go together",
        do=_OTHER_VERSIONS,
    ),
)
_UNKNOWN = _Kind(words=(), error=InstallError, summary="", do="see the reason above")
_BROKEN = _Kind(words=(), error=InstallerError, summary="it did not run to its end", do="run the cell again")


def explain(failure: Failure, request: Request) -> ColabKitError:
    """Return the error that says what an installer's failure means.

    Args:
        failure: What the installer left.
        request: What it was asked.
    """
    output = _ANSI.sub("", f"{failure.done.out}\n{failure.done.err}")  # pip explains a conflict on standard output
    names = ", ".join(masked(requirement.need.text) for requirement in request.requirements[:_NAMED])
    what = f"{failure.installer} cannot install {names}"
    if len(request.requirements) > _NAMED:
        what += f" and {len(request.requirements) - _NAMED} more"
    why = _reason(output)
    if tail := _last_lines_of_build(output, failure.log):
        why = f"{re.split(r' std(?:out|err)[]]| See above for output', why)[0]}; the build ended with: {tail}"
    if failure.log is not None:
        why += f"; the whole log: {failure.log}"
    kind = next(
        (failure_kind for failure_kind in _KINDS if any(re.search(words, output) for words in failure_kind.words)),
        _UNKNOWN,
    )
    if failure.done.code is None:
        kind = _BROKEN
    if issubclass(kind.error, ConflictError) and (mentioned := _named(request.constraints, output)):
        return _constraint_conflict(what, why, mentioned)
    return kind.error(f"{what}: {kind.summary}" if kind.summary else what, why=why, hint=kind.do)


def _constraint_conflict(what: str, why: str, mentioned: list[str]) -> ConflictError:
    stack = [name for name in mentioned if name in KERNEL_STACK]
    if stack:
        return ProtectedPackageError(
            f"{what}: it would change {', '.join(stack)}, on which the running kernel depends",
            why=why,
            hint="ask for another version; force=True changes it anyway, and then the kernel may not start again",
        )
    return ConflictError(
        f"{what}: it does not fit {', '.join(mentioned)}, which this image has built for its hardware",
        why=why,
        hint=f"ask for another version, or ask for {' and '.join(mentioned)} by name too, or pass constrain=False",
    )


def _named(names: Iterable[str], text: str) -> list[str]:
    plain = text.lower().replace("_", "-")
    return [name for name in names if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", plain)]


def _reason(output: str) -> str:
    """The installer's explanation in a few plain lines, without its ornaments."""
    text = masked(_pips_reason(output) or _uvs_reason(output))
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"


def _last_lines_of_build(output: str, log: Path | None) -> str:
    """Return the last lines that a build printed, as uv and pip quote or log them; "" where nothing was built."""
    logged = ""
    if log is not None and "See above for output" in output:
        with contextlib.suppress(OSError):
            logged = log.read_text(encoding="utf-8", errors="replace").rpartition("Running command ")[2]
            logged = re.split(r"\n[^\n]*ERROR: (?:\[present-rich\]|subprocess)", logged)[0]
    quoted = re.search(r"\[\d+ lines of output\]\n(.*?)\n\s*\[end of output\]", output, re.DOTALL)
    if quoted:
        lines = quoted[1].splitlines()
    elif logged:
        printed = map(_LOGGED.fullmatch, logged.splitlines()[1:])
        lines = [match[1] for match in itertools.takewhile(bool, printed) if match]
    else:
        out = re.search(r"\[stdout\]\n(.*?)(?=\n\s*\[stderr\]|\n\s*\n\s*hint: |\Z)", output, re.DOTALL)
        error = re.search(r"\[stderr\]\n(.*?)(?=\n\s*\n\s*hint: |\Z)", output, re.DOTALL)
        lines = [line for part in (out, error) if part for line in part[1].splitlines()]
    kept = [line.strip() for line in lines if line.strip()][-_LAST:]
    return masked(" | ".join(kept))


def _pips_reason(output: str) -> str:
    _, separator, rest = output.partition("The conflict is caused by:\n")
    if separator:
        return "; ".join(line.strip() for line in rest.partition("\n\n")[0].splitlines())
    return " ".join(line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: "))


def _uvs_reason(output: str) -> str:
    lines = [re.sub(r"^[^\w`*(]+", "", line).rstrip() for line in output.splitlines()]
    start = next((i for i, line in enumerate(lines) if re.match(r"error\b|No solution", line)), 0)
    wordy = [re.sub(r"^(?:error|cause|hint): *", "", line) for line in lines[start:] if line]
    text = " ".join(line for line in wordy if not line.startswith("Using Python"))
    return re.sub(r"^No solution found when resolving dependencies:? ", "", text)
