"""The states of a mirror: the table in the docstring is what the schedule does, in all 256 cases."""

import itertools
from pathlib import Path

import pytest

from colabkit.checkpoint.format import naming
from colabkit.checkpoint.mirror import schedule
from colabkit.checkpoint.mirror.schedule import MirrorState, Schedule

COLUMNS = (
    "copy waits", "on its way", "just copied", "line taken", "files wait", "end asked", "failed", "ask due",
)  # fmt: skip
NOW = 1000.0


def _rows():
    """Read the table of the docstring: what each condition must be, and the state."""
    lines = [line for line in schedule.__doc__.splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(head) == (*COLUMNS, "state")
    return [(row[:-1], MirrorState(row[-1])) for row in rows]


def _documented(case):
    """Return the state of the first row that fits."""
    return next(state for row, state in _rows() if _fits(row, case))


def _fits(row, case):
    return all(cell in ("-", "yes" if is_so else "no") for cell, is_so in zip(row, case, strict=True))


def _schedule(case):
    """Make a schedule in which these conditions hold at NOW."""
    copy, on_its_way, just_copied, line, files, end, failed, ask = case
    made = Schedule()
    name = naming.CheckpointName(step=1, state="0" * 12)
    if copy:
        made.queued = naming.LocalCheckpoint(path=Path("step-2"), step=2, size=1, saved_at=0.0)
    made.on_its_way = on_its_way
    made.unconfirmed = {name: NOW - (1 if just_copied else schedule.ARRIVAL_TIMEOUT + 1)}
    made._next_copy = NOW + 1 if line else NOW
    made.files_due = files
    made.on_idle = (lambda: None) if end else None
    made._not_before = NOW + 1 if failed else NOW
    made._ask_at = NOW if ask else NOW + 1
    return made


@pytest.mark.parametrize("case", [*itertools.product((False, True), repeat=len(COLUMNS))])
def test_the_state_is_that_of_the_first_row_that_fits(case):
    """Whatever waits, is on its way or has failed, the mirror does what the table says."""
    assert _schedule(case).state(NOW) is _documented(case)


def test_every_row_and_every_state_is_needed():
    """No row is covered by those above it, and each state has one."""
    cases = [*itertools.product((False, True), repeat=len(COLUMNS))]
    first = {next(number for number, (row, _) in enumerate(_rows()) if _fits(row, case)) for case in cases}
    assert first == set(range(len(_rows())))
    assert {state for _, state in _rows()} == set(MirrorState)
