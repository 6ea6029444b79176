"""Whoever follows a link of a page arrives: within the site, every file and every heading is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.unit.docs.pages import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def targets(page: Path) -> list[str]:
    """Read where the links and pictures of a page lead to, other sites left out."""
    found = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in found if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as links do."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path):
    """Each relative link names a file that is there and, behind a #, one of its headings."""
    dead = []
    for target in targets(page):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


def test_links_are_found():
    """A pattern that matches nothing must not make the test above pass."""
    assert {"docs/index.md", "docs/benchmarks.md", "docs/images/training.png"} <= set(targets(ROOT / "README.md"))
    assert "what-is-exact" in anchors(ROOT / "docs" / "resume.md")


def test_every_page_is_linked_from_the_landing_page():
    """Nobody has to know the name of a page in order to find it."""
    listed = re.findall(r"^[\w.-]+$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    here = {page.stem for page in PAGES if page.parent == ROOT / "docs"} - {"index"}
    assert here <= set(listed)
