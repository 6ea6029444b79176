"""What is wrong with this runtime, or soon will be, and what to do about it: `doctor()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.diagnosis import devices, drive, machine, packages, session
from colabkit.diagnosis.base import SEVERITIES, Finding, Scene
from colabkit.diagnosis.report import Diagnosis
from colabkit.packages.environment import Environment
from colabkit.runtime import base, detect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Diagnosis", "Finding", "doctor", "examine"]

CHECKS: dict[str, Callable[[Scene], Iterator[Finding]]] = {
    "GPU and TPU": devices.check,
    "packages": packages.check,
    "memory and disk": machine.check,
    "Drive": drive.check,
    "session and secrets": session.check,
}
"""What is looked at, in the order of the page."""


def doctor() -> Diagnosis:
    """Look for what is wrong with this runtime, or soon will be; nothing is changed, nothing heavy imported.

    Returns:
        The findings, each with severity, what, why and what to do. `print` shows a page, a notebook a table.

    Example:
        >>> diagnosis = doctor()
        >>> {finding.severity for finding in diagnosis.findings} <= {"problem", "warning", "note"}
        True
    """
    return examine(Scene(runtime=detect(), place=base.here(), site=Environment()))


def examine(scene: Scene) -> Diagnosis:
    """Run all checks on a scene; a check that fails is a finding itself, and the others go on."""
    findings = []
    for title, check in CHECKS.items():
        try:
            findings += list(check(scene))
        except Exception as error:  # noqa: BLE001 - a broken machine must not keep the doctor from telling the rest
            findings.append(
                Finding(
                    severity="warning",
                    what=f"{title} could not be checked",
                    why=f"{type(error).__name__}: {error}",
                    do="report this with the page that doctor() shows",
                )
            )
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(runtime=scene.runtime, findings=tuple(findings), checks=tuple(CHECKS))
