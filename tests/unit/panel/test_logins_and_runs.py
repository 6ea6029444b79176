"""Logins in the panel, and runs that are handed over or deleted from it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

import colabkit as ck
from colabkit.checkpoint.management.removal import plan_removal, remove
from colabkit.errors import AddressError, NotFoundError, RunBusyError
from colabkit.transfer import logins

needs_widgets = pytest.mark.skipif(find_spec("ipywidgets") is None, reason="pip install ipywidgets")


def button(panel, label):
    """Find the button of a label."""
    (found,) = [one for one in panel.desk._buttons if one.description == label]
    return found


@pytest.fixture
def panel(tmp_path, monkeypatch):
    """A panel in an empty folder, in a session that knows no login."""
    from colabkit.panel.widgets import Panel

    monkeypatch.chdir(tmp_path)
    for name in (*logins.VARIABLES.values(), "KAGGLE_USERNAME", "KAGGLE_KEY", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return Panel()


@needs_widgets
def test_a_token_is_used_and_nowhere_shown(panel, monkeypatch):
    """It is in the environment of the session; the field is empty again, and no widget holds it."""
    tab = panel.logins
    tab._service.value, tab._token.value = "Hugging Face", " hf_s3cret "
    button(panel, "Use token").click()
    assert "used until this session ends" in panel.desk.message.value
    assert str(ck.secret("HF_TOKEN")) == "hf_s3cret"
    assert tab._token.value == ""
    assert "HF_TOKEN" in tab._state.value
    assert "s3cret" not in panel.desk.code.value + panel.desk.message.value + tab._state.value + str(
        tab._token.get_state()
    )
    tab._token.value = "two words é"
    button(panel, "Use token").click()
    assert "is not a token of Hugging Face" in panel.desk.message.value
    monkeypatch.delenv("HF_TOKEN")


@needs_widgets
def test_a_run_is_deleted_after_a_question(panel, tmp_path):
    """The question names files, size and folder; Keep it changes nothing; a run that is written is kept."""
    run = ck.open_run("colabkit-runs/one")
    run.save({"a": 1}, step=1)
    run.close()
    panel.runs._where.value = "colabkit-runs/one"
    button(panel, "Delete").click()
    assert "colabkit-runs/one?" in panel.runs._words.value
    assert "There is no other copy" in panel.runs._words.value
    button(panel, "Keep it").click()
    button(panel, "Delete it").click()
    assert run.dir.is_dir()
    button(panel, "Delete").click()
    button(panel, "Delete it").click()
    assert "deleted: " in panel.desk.message.value
    assert not run.dir.exists()
    button(panel, "Delete").click()
    assert "there is no run at" in panel.desk.message.value


def test_only_a_run_that_nobody_writes_is_deleted(tmp_path):
    """A folder without checkpoints is no run; a process that trains keeps its run."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(NotFoundError, match="no run at"):
        plan_removal(tmp_path / "photos")
    run = ck.open_run(tmp_path / "run")
    run.begin_writing()
    with pytest.raises(RunBusyError):
        remove(plan_removal(tmp_path / "run"))
    run.close()
    remove(plan_removal(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_what_is_no_token_is_refused():
    """Empty, with letters that no header can carry, or of a service that has none."""
    for service, token in (("Kaggle", " "), ("Kaggle", "é"), ("Google", "x")):
        with pytest.raises(AddressError):
            logins.use(service, token, {})
