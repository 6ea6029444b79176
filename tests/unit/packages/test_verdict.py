"""Claims about the answer that is kept: it holds only as long as nothing has changed."""

from __future__ import annotations

import shutil
import sys

import pytest

from colabkit.errors import ColabKitError
from colabkit.packages.installation import install, make_available
from colabkit.packages.request import requirements_file
from colabkit.packages.request.options import Options
from colabkit.packages.satisfied_cache import SatisfiedCache


def add(folder, name, version, *needs):
    """Install a package that is nothing but its metadata."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    fields = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (info / "METADATA").write_text("\n".join(fields))
    return info


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Give a folder of packages with two of them, one of which needs the other."""
    folder = tmp_path / "site"
    add(folder, "alpha_for_test", "1.0", "beta_for_test>=1")
    add(folder, "beta_for_test", "1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    return folder


def test_a_lock_that_holds_is_not_read_again(site, tmp_path, monkeypatch):
    """The second process does not even read the lock; a line that is added to it is."""
    lock = tmp_path / "requirements.txt"
    lock.write_text("alpha_for_test==1.0\n")
    assert not install(lock).changed
    read = []
    with monkeypatch.context() as patched:
        patched.setattr(requirements_file, "read", read.append)
        assert not install(lock).changed
    assert not read
    lock.write_text("alpha_for_test==1.0\nthis is no requirement\n")
    with pytest.raises(ColabKitError, match="cannot read the requirement"):
        install(lock)


@pytest.mark.parametrize("change", ["removed", "replaced", "what it needs is removed"])
def test_a_change_of_what_is_installed_is_seen(site, monkeypatch, change):
    """A package that is removed or replaced, or one that another needs, is missed at once."""
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    monkeypatch.setenv("PATH", "")
    assert not make_available("alpha_for_test==1.0").changed
    assert not make_available("alpha_for_test==1.0").changed
    gone = "beta_for_test" if change == "what it needs is removed" else "alpha_for_test"
    shutil.rmtree(site / f"{gone}-1.0.dist-info")
    if change == "replaced":
        add(site, "alpha_for_test", "2.0")
    with pytest.raises(ColabKitError):
        make_available("alpha_for_test==1.0", options=Options(dry_run=True))


def test_what_was_never_good_is_not_known(tmp_path):
    """A question is known after its good answer was kept, and not for other words."""
    (tmp_path / "file").write_text("a")
    question = SatisfiedCache("is it so", "x", tmp_path / "file")
    assert not question.is_satisfied
    question.keep()
    assert SatisfiedCache("is it so", "x", tmp_path / "file").is_satisfied
    assert not SatisfiedCache("is it so", "y", tmp_path / "file").is_satisfied
    (tmp_path / "file").write_text("b")
    assert not SatisfiedCache("is it so", "x", tmp_path / "file").is_satisfied


def test_where_nothing_can_be_written_it_is_found_anew(tmp_path, monkeypatch):
    """A cache that is a file, as a folder that is read-only, costs time and no more."""
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "cache"))
    question = SatisfiedCache("is it so")
    question.keep()
    assert not question.is_satisfied
