"""Claims about what is said to the user, and about packages that are not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from colabkit._internal import optional
from colabkit.errors import MissingDependencyError

SAY = "from colabkit._internal.log import notify, warn; notify('one %s', 1); warn('two')"


def said(script):
    """Run a script; return its stdout and stderr."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, done.stderr


def test_a_user_who_configured_nothing_sees_plain_lines():
    """Messages reach stderr once each, without decoration, so that stdout can be piped."""
    assert said(SAY) == ("", "one 1\ntwo\n")
    assert said(f"{SAY}; {SAY}")[1] == "one 1\ntwo\n" * 2


def test_an_application_that_configures_logging_decides():
    """With logging configured, level and format are the application's, and nothing is printed twice."""
    configure = "import logging; logging.basicConfig(level='WARNING', format='[%(name)s] %(message)s'); "
    assert said(configure + SAY) == ("", "[colabkit] two\n")


def test_a_library_that_configures_logging_later_changes_nothing():
    """Absl gives the root a handler in the middle of a training: our lines come on, once each."""
    assert said(f"{SAY}; import logging; logging.basicConfig(); {SAY}")[1] == "one 1\ntwo\n" * 2


def test_a_notebook_whose_kernel_configured_logging_shows_the_lines():
    """Colab's kernel has a handler for warnings before the first cell; the user still reads what was done."""
    kernel = (
        "import logging, sys, types; logging.basicConfig(); "
        "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1)); "
    )
    assert said(kernel + SAY) == ("one 1\ntwo\n", "")
    assert said(f"{kernel} logging.getLogger().setLevel('INFO'); {SAY}") == (
        "",
        "INFO:colabkit:one 1\nWARNING:colabkit:two\n",
    )


def test_a_missing_package_names_its_install_line(monkeypatch):
    """The message has the packages themselves, quoted for a shell, never this distribution's name."""
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingDependencyError) as caught:
        optional.require("keras", extra="train", why="training needs it")
    assert "'keras'" in caught.value.what
    assert caught.value.do.startswith('run: pip install "')
    assert '"keras>=' in caught.value.do
    assert "colabkit" not in caught.value.do
    assert isinstance(caught.value, ImportError)


def test_the_package_that_is_missing_leads_its_line(monkeypatch):
    """A wheel lists what an extra asks for by name; who lacks Ray reads of Ray first, not of aiohttp."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError) as caught:
        optional.require("ray", extra="ray", why="x")
    assert caught.value.do.startswith('run: pip install "ray[train]')
    assert "aiohttp" in caught.value.do


@pytest.mark.parametrize(("module", "line"), [("PIL.Image", "pillow"), ("matplotlib.figure", '"matplotlib>=3.7"')])
def test_what_needs_no_framework_asks_for_none(module, line, monkeypatch):
    """Who trains with PyTorch is not told to install TensorFlow for a plot or a picture."""
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(MissingDependencyError) as caught:
        optional.require(module, extra="train", why="x")
    assert caught.value.do == f"run: pip install {line}"


def test_a_broken_package_speaks_for_itself(tmp_path, monkeypatch):
    """A package that is there but lacks something of its own is not called missing."""
    (tmp_path / "half_installed.py").write_text("import a_part_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_part_that_is_missing") as caught:
        optional.require("half_installed", extra="train", why="x")
    assert not isinstance(caught.value, MissingDependencyError)


def test_an_unknown_extra_asks_for_nothing():
    """Only what the extra itself declares is listed, not the base dependencies."""
    assert optional.requirements("no-such-extra") == []
    assert all("requests" not in line for line in optional.requirements("train"))


def test_a_name_that_is_no_text_can_be_told():
    """A stream of UTF-8 takes the line, whatever bytes a file is called by."""
    script = r"from colabkit._internal.log import notify; notify('%s is kept', 'caf\udce9.csv')"
    assert said(script) == ("", "caf?.csv is kept\n")
