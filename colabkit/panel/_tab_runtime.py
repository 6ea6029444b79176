"""The tab Runtime: the machine, and what the doctor found, with buttons where the panel can help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from colabkit.diagnosis import doctor
from colabkit.panel._static import facts_html, finding_html, findings_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.diagnosis import Diagnosis
    from colabkit.panel._desk import Desk

_INSTALLS = re.compile(r"pip install (?:-U )?(.+?)(?:, then .*)?")


class RuntimeTab:
    """The machine and its findings."""

    title = "Runtime"

    def __init__(self, desk: Desk, plan: Callable[[str], None]) -> None:
        self._desk = desk
        self._plan = plan
        self._facts = desk.html()
        self._findings = desk.column()
        look = desk.button("Look again", self._look)
        self.widget = desk.column(self._facts, self._findings, look)

    def show(self, diagnosis: Diagnosis) -> None:
        """Draw what was found."""
        self._facts.value = facts_html(diagnosis.runtime)
        if not diagnosis.findings:
            self._findings.children = (self._desk.html(findings_html(diagnosis)),)
            return
        children: list[Any] = []
        for finding in diagnosis.findings:
            children.append(self._desk.html(finding_html(finding)))
            if found := _INSTALLS.fullmatch(finding.do):
                requirements = found[1].replace('"', "")
                children.append(self._desk.button(f"Plan: install {requirements}", self._planning(requirements)))
        self._findings.children = tuple(children)

    def _planning(self, requirements: str) -> Callable[[], None]:
        return lambda: self._plan("\n".join(requirements.split(" ")))

    def _look(self) -> None:
        def look() -> str:
            diagnosis = doctor()
            self.show(diagnosis)
            return f"looked at {', '.join(diagnosis.checks)}"

        self._desk.worker.start("looking", look)
        self._desk.note_code("doctor", "ck.doctor()")
