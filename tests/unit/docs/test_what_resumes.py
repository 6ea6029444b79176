"""Claims about the page with the verdicts of the conformance suite."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "framework" / "resume"))

import report  # noqa: E402
import runner  # noqa: E402

PAGE = ROOT / "docs" / "what-resumes-exactly.md"


def test_the_page_names_every_case_and_none_differs_in_silence():
    """It is what the command writes for these cases, each backend of a case has a word, and no word is a fault."""
    text = PAGE.read_text()
    rows = report.read_page(text)
    assert report.page_of(rows) == text
    cases = runner.all_cases()
    assert list(rows) == list(cases)
    for name, (backends, _) in cases.items():
        for backend in report.BACKENDS:
            words = ("exact", "said", "refused", "not run") if backend in backends else ("",)
            assert rows[name][backend] in words, (name, backend)
