"""Where the user is, in four steps, and which one is next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.display.few import counted
from colabkit._internal.language import translated
from colabkit.config import RUNS_DIR
from colabkit.panel import html
from colabkit.transfer import listing

if TYPE_CHECKING:
    from colabkit.diagnosis import Diagnosis


@dataclass(frozen=True, kw_only=True)
class Step:
    """One of the four.

    Attributes:
        name: Of the step.
        done: Nothing is to be done for it.
        words: What there is.
        action: The words of its button.
        tab: The title of the tab that helps.
    """

    name: str
    done: bool
    words: str
    action: str
    tab: str


def steps(diagnosis: Diagnosis, folder: Path | None = None) -> list[Step]:
    """Say how far the user is; only this machine's disk is looked at.

    Args:
        diagnosis: What the doctor found.
        folder: Where runs are; `colabkit-runs` here when None.
    """
    problems = sum(finding.severity == "problem" for finding in diagnosis.findings)
    data = len(listing())
    runs = sorted((folder or Path(RUNS_DIR)).glob("*/checkpoints"))
    trained = [path for path in (folder or Path(RUNS_DIR)).glob("*/model.*") if path.suffix in (".zip", ".keras")]
    state = f"{counted(problems, 'problem')}: see below" if problems else "ready"
    return [
        Step(
            name="Runtime",
            done=not problems,
            words=state,
            action="Look again",
            tab="Runtime",
        ),
        Step(
            name="Data",
            done=bool(data or runs),
            words=f"{data} fetched" if data else "nothing fetched yet",
            action="Fetch data",
            tab="Data",
        ),
        Step(
            name="Train",
            done=bool(runs),
            words=f"{counted(len(runs), 'run')} begun" if runs else "nothing trained yet",
            action="Train a model",
            tab="Train",
        ),
        Step(
            name="Results",
            done=False,
            words=f"{len({path.parent for path in trained})} trained models" if trained else "none yet",
            action="Look at the run",
            tab="Run",
        ),
    ]


def to_html(visible: list[Step]) -> str:
    """Draw the steps, each with its state."""
    cells = "".join(
        f'<li style="flex:1 1 140px" data-ck-step="{step.name}">'
        f"{html.badge('ok' if step.done else 'note', '✓' if step.done else str(number))} "
        f"<b>{html.text(translated(step.name))}</b><br>"
        f'<span class="ck-sub">{html.text(translated(step.words))}</span></li>'
        for number, step in enumerate(visible, start=1)
    )
    return f'<ol style="list-style:none;display:flex;flex-wrap:wrap;gap:8px;margin:4px 0;padding:0">{cells}</ol>'
