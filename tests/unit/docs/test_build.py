"""The documentation builds as it is published."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.unit.docs.pages import PAGES, ROOT

MISSING = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f'{MISSING} not installed: pip install -e ".[all,test]"')
def test_sphinx_builds_every_page_without_a_warning(tmp_path, monkeypatch):
    """No broken link, no page outside the table of contents, no unreadable docstring, and nothing of the builder's."""
    monkeypatch.setenv("SOME_API_KEY", "a-secret-of-the-builder")  # `env=os.environ` is a default in a signature
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-b", "html"]
    folders = ["-d", str(tmp_path / "trees"), str(ROOT / "docs"), str(tmp_path / "html")]
    done = subprocess.run([*words, *folders], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in PAGES:
        if page.parent == ROOT / "docs":
            assert (tmp_path / "html" / f"{page.stem}.html").stat().st_size > 1000
    published = (path.read_text(encoding="utf-8") for path in (tmp_path / "html").rglob("*.html"))
    assert not [text for text in published if "a-secret-of-the-builder" in text]
