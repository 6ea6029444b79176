"""Claims about a folder of checkpoints: the newest whole one is found, whatever else lies there."""

from __future__ import annotations

import numpy as np
import pytest

from colabkit.checkpoint.format import file, naming
from colabkit.errors import CheckpointError, CorruptCheckpointError, NewerFormatError


def save(folder, *steps):
    """Publish small checkpoints."""
    return [naming.publish(folder, {"x": np.array([step])}, {"step": step}, step=step) for step in steps]


def test_order_is_by_step(tmp_path):
    """The furthest trained one comes first, whenever it was written; foreign files are passed over."""
    save(tmp_path, 20, 100, 3)
    for name in ("notes.txt", "step-000000001.safetensors", "step-000000900-0123456789ab.safetensors.tmp"):
        (tmp_path / name).write_text("x")
    assert [entry.step for entry in naming.entries(tmp_path)] == [100, 20, 3]
    assert naming.entries(tmp_path / "missing") == []


def test_the_name_carries_the_hash(tmp_path):
    """A file's name holds its step and the beginning of its hash."""
    (path,) = save(tmp_path, 5)
    assert path.name == f"step-000000005-{file.read(path).digest[:12]}.safetensors"


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda _: b"", lambda _: b"\0" * 99])
def test_damage_falls_back_to_the_one_before(tmp_path, damage):
    """A newest one that is cut, empty or overwritten is passed over by name; the one before is read."""
    _, last = save(tmp_path, 1, 2)
    last.write_bytes(damage(last.read_bytes()))
    found, entry, passed_over = naming.latest_valid(naming.candidates(tmp_path))
    assert found.tensors["x"].tolist() == [entry.step] == [1]
    assert [item.name for item in passed_over] == [last.name]
    assert passed_over[0].why


def test_a_folder_in_the_place_of_a_file_is_passed_over(tmp_path):
    """What cannot be read at all is passed over too."""
    save(tmp_path, 1)
    (tmp_path / "step-000000009-0123456789ab.safetensors").mkdir()
    found, entry, passed_over = naming.latest_valid(naming.candidates(tmp_path))
    assert found is not None
    assert entry.step == 1
    assert len(passed_over) == 1


def test_a_newer_format_is_not_passed_over(tmp_path, monkeypatch):
    """Falling back behind a newer colabkit's checkpoint would lose work silently: it is refused."""
    save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(file, "FORMAT", file.FORMAT + 1)
        save(tmp_path, 2)
    with pytest.raises(NewerFormatError):
        naming.latest_valid(naming.candidates(tmp_path))


def test_a_failed_write_leaves_nothing(tmp_path):
    """An array that cannot be saved leaves no file, half or whole."""
    with pytest.raises(CheckpointError):
        naming.publish(tmp_path, {"fine": np.zeros(9), "odd": np.array(["text"])}, {}, step=1)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_kill_are_ignored_and_removed(tmp_path):
    """A half-written temporary file is no checkpoint, and goes; the checkpoints stay."""
    (path,) = save(tmp_path, 1)
    half = tmp_path / ".checkpoint.part-abc"
    half.write_bytes(path.read_bytes()[:50])
    assert [entry.path for entry in naming.entries(tmp_path)] == [path]
    naming.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_renamed_copy_is_believed_by_content_only(tmp_path):
    """A good name does not make a good file."""
    (tmp_path / "step-000000009-0123456789ab.safetensors").write_bytes(b"trust me")
    with pytest.raises(CorruptCheckpointError):
        file.verify(naming.entries(tmp_path)[0].path)
    assert naming.latest_valid(naming.candidates(tmp_path))[0] is None
