"""The tab Runtime: the machine, and what the doctor found, with buttons where the panel can help."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from colabkit.diagnosis import doctor
from colabkit.panel import steps
from colabkit.panel.page import facts_html, finding_html, findings_html

if TYPE_CHECKING:
    from collections.abc import Callable

    from colabkit.diagnosis import Diagnosis
    from colabkit.panel.widget_kit import WidgetKit

_INSTALLS = re.compile(r"pip install (?:-U )?(.+?)(?:, then .*)?")


class RuntimeTab:
    """The machine and its findings."""

    title = "Runtime"

    def __init__(self, desk: WidgetKit, plan: Callable[[str], None], open_tab: Callable[[str], None]) -> None:
        self._desk = desk
        self._plan = plan
        self._open_tab = open_tab
        self._steps = desk.html()
        self._next_tab = ""
        self._diagnosis: Diagnosis | None = None
        self._next = desk.button("Next", lambda: self._open_tab(self._next_tab), style="primary")
        self._facts = desk.html()
        self._findings = desk.column()
        button = desk.button("Look again", self._refresh)
        self.widget = desk.column(self._steps, desk.row(self._next, button), self._facts, self._findings)

    def show(self, diagnosis: Diagnosis) -> None:
        """Draw what was found."""
        self._diagnosis = diagnosis
        self.lead()
        self._facts.value = facts_html(diagnosis.runtime)
        if not diagnosis.findings:
            self._findings.children = (self._desk.html(findings_html(diagnosis)),)
            return
        children: list[Any] = []
        for finding in diagnosis.findings:
            children.append(self._desk.html(finding_html(finding)))
            if match := _INSTALLS.fullmatch(finding.do):
                requirements = match[1].replace('"', "")
                children.append(self._desk.button(f"Plan: install {requirements}", self._planning(requirements)))
        self._findings.children = tuple(children)

    def lead(self) -> None:
        """Say where the user is, and what comes next."""
        if self._diagnosis is None:
            return
        all_steps = steps.steps(self._diagnosis)
        self._steps.value = steps.to_html(all_steps)
        step = next(
            (step for step in all_steps[1:] if not step.done), all_steps[-1]
        )  # the first one's findings are below
        self._next.description, self._next_tab = self._desk.words(f"Next: {step.action.lower()}"), step.tab

    def _planning(self, requirements: str) -> Callable[[], None]:
        return lambda: self._plan("\n".join(requirements.split(" ")))

    def _refresh(self) -> None:
        def detect() -> str:
            diagnosis = doctor()
            self.show(diagnosis)
            return f"looked at {', '.join(diagnosis.checks)}"

        done = lambda: self._desk.note_code("doctor", "ck.doctor()")  # noqa: E731
        self._desk.worker.start("looking", detect, done=done, may_leave=True)
