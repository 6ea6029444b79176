"""What a diagnosis is: findings, each with what, why and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from colabkit.packages.environment import Environment
    from colabkit.runtime.base import Probe
    from colabkit.runtime.report import Runtime

Severity = Literal["problem", "warning", "note"]
"""A problem needs action before work goes on; a warning may bite later; a note is good to know."""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing to know.

    Attributes:
        severity: "problem", "warning" or "note".
        what: What was found.
        why: Why it matters, or where it comes from.
        do: The next step.
    """

    severity: Severity
    what: str
    why: str
    do: str


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the checks look at; only `runtime.quotas` calls a server, when it is read, and nothing touches a device.

    Attributes:
        runtime: The detected runtime.
        place: The environment variables, the root folder, the shell.
        site: The installed packages.
    """

    runtime: Runtime
    place: Probe
    site: Environment
