"""The tab Port of the panel: it shows what port() would change, and writes it."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from tests.support.notebooks import write_notebook
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(find_spec("ipywidgets") is None, reason="ipywidgets is missing: pip install ipywidgets")


def test_the_difference_is_shown_and_the_notebook_written(tmp_path):
    """Show touches nothing; Write makes NAME.ported.ipynb, and names the lines that do the same."""
    from colabkit.panel.tabs.port import PortTab
    from colabkit.panel.widget_kit import WidgetKit

    path = write_notebook(
        tmp_path / "train.ipynb", ["!pip install -q <polars>", "!pip install -q polars", "!apt-get install jq"]
    )
    tab = PortTab(WidgetKit())
    tab.path.value = str(path)
    tab.show()
    wait_until(lambda: "ck.install" in tab.result.value)
    assert "&quot;polars&quot;" in tab.result.value
    assert "system packages" in tab.result.value
    assert "<polars>" not in tab.result.value
    assert not (tmp_path / "train.ported.ipynb").exists()
    tab = PortTab(WidgetKit())  # the first one may still be at its end
    tab.path.value = str(path)
    tab.write()
    wait_until((tmp_path / "train.ported.ipynb").exists)
    assert "ck.install" in json.dumps(json.loads((tmp_path / "train.ported.ipynb").read_text()))
