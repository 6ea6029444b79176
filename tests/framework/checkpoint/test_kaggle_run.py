"""A run goes from one version of a Kaggle notebook to the next: attached, fetched, or begun in words."""

from __future__ import annotations

import shutil

import pytest

import colabkit as ck
from colabkit.checkpoint import kaggle_run
from colabkit.errors import AddressError, OfflineError, UnsupportedError
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.testing.web import FakeWeb

ADDRESS = "kaggle:ada/digits-notebook/runs/digits"


@pytest.fixture
def kaggle(monkeypatch):
    """Play Kaggle to everything in this process."""
    played = FakeKaggle()
    with FakeWeb(played) as web:
        for name, value in {**web.env, "KAGGLE_API_TOKEN": "KGAT_0123456789abcdef"}.items():
            monkeypatch.setenv(name, value)
        yield played


def train(run, steps):
    """A training of whole numbers: each step adds its number."""
    saved = run.restore()
    state = saved.state if saved else {"sum": 0}
    for step in range(saved.step + 1 if saved else 1, steps + 1):
        state = {"sum": state["sum"] + step}
        run.save(state, step=step)
    run.close()
    return state["sum"]


def test_the_next_version_goes_on_from_the_output_of_the_last(kaggle, caplog):
    """The first version trains 3 steps and ends; the second one has another machine and continues at step 4."""
    with ck.open_run(ADDRESS) as run:
        train(run, 3)
    files = {str(path.relative_to(run.dir.parent)): path.read_bytes() for path in run.dir.rglob("*") if path.is_file()}
    kaggle.put(
        "code/ada/digits-notebook", {f"runs/digits/{n.partition('/')[2]}": b for n, b in files.items()}, version=1
    )
    shutil.rmtree(run.dir)
    caplog.set_level("INFO", "colabkit")
    assert train(ck.open_run(ADDRESS), 5) == 1 + 2 + 3 + 4 + 5
    assert "continues from the output of an earlier version" in caplog.text


@pytest.mark.parametrize("left", [{}, {"log.txt": b"Traceback"}])
def test_a_version_that_failed_hides_no_earlier_one(kaggle, caplog, left):
    """The newest version failed and left nothing, or no state: the training goes on from the version before it."""
    with ck.open_run(ADDRESS) as run:
        train(run, 3)
    files = {f"runs/digits/{path.relative_to(run.dir)}": path for path in run.dir.rglob("*") if path.is_file()}
    earlier = {1: {}, 2: {name: path.read_bytes() for name, path in files.items()}, 3: {"other.txt": b"x"}}
    kaggle.put("code/ada/digits-notebook", left, version=4, earlier=earlier)
    shutil.rmtree(run.dir)
    caplog.set_level("INFO", "colabkit")
    assert train(ck.open_run(ADDRESS), 5) == 1 + 2 + 3 + 4 + 5
    assert "left no state of it, version 2 did" in caplog.text


def test_an_output_that_is_attached_needs_no_internet(tmp_path):
    """What Kaggle shows below /kaggle/input is taken, whichever of the two places it is in."""
    run = kaggle_run.parse(ADDRESS)
    for place in ("digits-notebook", "notebooks/ada/digits-notebook"):
        inputs = tmp_path / place.replace("/", "-")
        train(ck.open_run(inputs / place / run.path), 2)
        folder = tmp_path / f"working-{place.count('/')}"
        assert kaggle_run.copy_earlier_version(run, folder, inputs)
        assert ck.open_run(folder).restore().step == 2


def test_without_internet_and_output_nobody_begins_anew_in_silence(tmp_path, monkeypatch):
    """A fresh start could lose days of training; it is refused with the way out."""
    monkeypatch.setenv("KAGGLE_API_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    with pytest.raises(OfflineError, match="Add Input"):
        kaggle_run.copy_earlier_version(kaggle_run.parse(ADDRESS), tmp_path / "run", tmp_path)


@pytest.mark.parametrize("text", ["kaggle:ada/digits", "kaggle:ada/digits/../x", "kaggle:", "kaggle://a/b"])
def test_an_address_that_names_no_run_is_refused(text):
    """Its form is told."""
    with pytest.raises(AddressError, match="OWNER/NOTEBOOK"):
        ck.open_run(text)


def test_a_dataset_as_mirror_is_declined_and_keeps_a_closed_run(kaggle, tmp_path, monkeypatch):
    """The error names push and fetch; by them a run is a private dataset, and goes on exactly on another machine."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    with pytest.raises(UnsupportedError, match=r'push\(run\.dir, "kaggle:OWNER/DATASET"\)'):
        ck.open_run(tmp_path / "run", mirror="kaggle:ada/digits-run")
    assert not (tmp_path / "run").exists()
    train(ck.open_run(tmp_path / "run"), 3)
    for steps in (5, 7):
        ck.push(tmp_path / "run", "kaggle:ada/digits-run", progress=False)
        shutil.rmtree(tmp_path / "run")
        ck.fetch("kaggle:ada/digits-run", tmp_path / "run", overwrite=True, progress=False)
        assert train(ck.open_run(tmp_path / "run"), steps) == sum(range(steps + 1))
    assert kaggle.bundles["datasets/ada/digits-run"].version == 2
