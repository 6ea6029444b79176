"""A run as one file: packed, handed over, unpacked elsewhere, and continued there."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pytest

import colabkit as ck
from colabkit.checkpoint.management import pack
from colabkit.errors import ArchiveError, ExistsError, IntegrityError, NotFoundError


def trained(folder, *, epochs):
    """Sum numbers in two epochs or more, with a phase and a file of the user's own."""
    run, state = ck.open_run(folder), {"sum": 0}
    loop = run.loop([1, 2, 3], epochs=epochs, best="loss", state=state)
    for number in loop:
        state["sum"] = state["sum"] * 7 + number
        loop.log(loss=1 / state["sum"])
    with run.phase("second") as phase:
        phase.save({"more": [1, 2]}, step=5)
    (run.dir / "README.md").write_text("mine")
    (run.dir / ".hidden").write_text("a login")
    run.close()
    return state["sum"]


@pytest.fixture
def packed(tmp_path):
    """Pack a run of two epochs."""
    trained(tmp_path / "digits", epochs=2)
    return pack.pack(tmp_path / "digits", tmp_path / "away.run.zip").path


def test_an_unpacked_run_goes_on_as_the_one_that_was_packed(packed, tmp_path):
    """State, log, phase and own files are there; another epoch ends where the whole training ends."""
    done = pack.unpack(packed, tmp_path / "elsewhere")
    assert (done.name, done.step) == ("digits", 6)
    assert (done.path / "README.md").read_text() == "mine"
    assert not (done.path / ".hidden").exists()
    assert ck.open_run(done.path).phase("second").restore().state == {"more": [1, 2]}
    assert trained(done.path, epochs=3) == trained(tmp_path / "whole", epochs=3)


def test_the_card_says_what_was_trained(packed):
    """In Markdown, with steps, metrics and versions."""
    card = zipfile.ZipFile(packed).read("CARD.md").decode()
    assert card.startswith("# digits\n")
    for line in ("| steps | 6 |", "## Metrics", "| loss |", "## Versions", "## Licence"):
        assert line in card


@pytest.mark.parametrize("part", ["start", "middle", "end"])
def test_a_damaged_file_leaves_nothing(packed, tmp_path, part):
    """Half of it, a flipped byte, or bytes behind it: an error of ours, and no folder."""
    data = packed.read_bytes()
    at = {"start": 60, "middle": len(data) // 2, "end": len(data) - 200}[part]
    for damaged in (data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
        packed.write_bytes(damaged)
        with pytest.raises((ArchiveError, IntegrityError)):
            pack.unpack(packed, tmp_path / "elsewhere")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["away.run.zip", "digits"]


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out", "a/../../out", "a\\..\\out", "c:out", ""])
def test_names_that_lead_out_are_refused(packed, tmp_path, name):
    """Before anything is written."""
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read(pack.MANIFEST))
    manifest["files"][name] = {"size": 1, "sha256": "0" * 64}
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(pack.MANIFEST, json.dumps(manifest))
        archive.writestr(name or "x", "x")
    with pytest.raises(ArchiveError, match="leads out"):
        pack.unpack(packed, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_more_than_was_packed_is_not_unpacked(packed, tmp_path):
    """A member that unpacks to a gigabyte ends at the size that the list says."""
    with zipfile.ZipFile(packed) as archive:
        manifest = json.loads(archive.read(pack.MANIFEST))
    manifest["files"] = {"big.txt": {"size": 10, "sha256": "0" * 64}}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(pack.MANIFEST, json.dumps(manifest))
        archive.writestr("big.txt", "0" * 10_000_000)
    with pytest.raises(IntegrityError, match=r"big\.txt"):
        pack.unpack(packed, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_overwritten(packed, tmp_path):
    """A folder that holds something is refused; no run and no file are named."""
    with pytest.raises(ExistsError, match="--to"):
        pack.unpack(packed, tmp_path / "digits")
    with pytest.raises(NotFoundError):
        pack.unpack(tmp_path / "none.zip")
    with pytest.raises(NotFoundError):
        pack.pack(tmp_path / "none")


def test_in_a_shell(tmp_path):
    """`runs pack` and `runs unpack` say where the run is now."""
    trained(tmp_path / "digits", epochs=1)

    def said(*words):
        command = [sys.executable, "-m", "colabkit", "runs", *words, "--json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert said("pack", "digits")["file"] == "digits.run.zip"
    assert said("unpack", "digits.run.zip")["folder"].endswith("colabkit-runs/digits")
