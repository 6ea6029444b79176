"""Claims about `colabkit runs`: it shows where each state is, trusts nothing unproven, deletes nothing too early."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from colabkit import cli, open_run
from colabkit.checkpoint.format import naming
from colabkit.checkpoint.management import inspect
from colabkit.checkpoint.mirror import remote_store
from colabkit.errors import CheckpointError, RunBusyError
from colabkit.testing.faulty_storage import FaultyStorage


@pytest.fixture
def colabkit(capsys):
    """Run a command; gives its exit code, what `--json` printed, and what a person reads."""

    def begin(*words):
        try:
            code = cli.main(["runs", *map(str, words), "--json"])
        except SystemExit as end:  # wrong usage
            return end.code, {}, capsys.readouterr().err
        value = json.loads(capsys.readouterr().out)
        cli.main(["runs", *map(str, words)])
        done = capsys.readouterr()
        return code, value, done.out + done.err

    return begin


def made(folder, *steps, mirror=None, keep=9, size=9000):
    """Make a run with these states; the last part changes, the rest does not."""
    with open_run(folder, keep=keep, mirror=mirror) as run:
        for step in steps:
            run.save({"frozen": np.zeros(size), "x": np.full(1000, step)}, step=step)
            run.flush()
    return run


def damage(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_list_shows_each_state_and_where_it_is(tmp_path, colabkit):
    """Of a run with a mirror: step, size, and for each state whether it is local, mirrored and confirmed."""
    run = made(tmp_path / "runs" / "one", 1, 2, mirror=tmp_path / "copies")
    run.checkpoints()[1].path.unlink()
    code, value, text = colabkit("list", run.dir, "--mirror", tmp_path / "copies")
    assert code == 0
    points = value["runs"][0]["checkpoints"]
    assert [(point["step"], point["local"], point["mirrored"], point["confirmed"]) for point in points] == [
        (2, True, True, True),
        (1, False, True, True),
    ]
    assert points[0]["copies"][0]["size"] == run.checkpoints()[0].size
    assert "local, mirrored, confirmed" in text


def test_list_finds_the_runs_in_a_folder(tmp_path, colabkit):
    """Every run below is listed, a mirror by hand too, other folders are not; a folder without runs is no error."""
    made(tmp_path / "all" / "one", 1, mirror=tmp_path / "all" / "deep" / "copies")
    (tmp_path / "all" / "other" / "checkpoints").mkdir(parents=True)
    _, value, _ = colabkit("list", tmp_path / "all")
    assert [os.path.relpath(run["address"], tmp_path / "all") for run in value["runs"]] == ["deep/copies", "one"]
    (tmp_path / "none").mkdir()
    assert colabkit("list", tmp_path / "none")[:2] == (0, {"runs": []})


def test_verify_names_the_damaged_copy(tmp_path, colabkit):
    """Local and mirrored files are read; the damaged one is named with its place, thin ones with what they borrow."""
    run = made(tmp_path / "one", 1, 2, mirror=tmp_path / "copies")
    words = ("verify", run.dir, "--mirror", tmp_path / "copies")
    assert colabkit(*words)[1]["damaged"] == 0
    (thin,) = (tmp_path / "copies" / "checkpoints").glob("*.thin.*")
    damage(thin)
    code, value, text = colabkit(*words)
    assert code == 1
    assert [item["file"] for item in value["files"] if item["damaged"]] == [thin.name]
    assert f"{thin.name} in {tmp_path / 'copies'}: its content does not match" in text
    base = next((tmp_path / "copies" / "checkpoints").glob("step-000000001*"))
    damage(base)
    assert colabkit(*words)[1]["damaged"] == 2


def test_restore_passes_over_what_is_damaged(tmp_path, colabkit):
    """The newest state here is damaged: its copy in the mirror is taken; without that the one before, by name."""
    run = made(tmp_path / "one", 1, 2, mirror=tmp_path / "copies")
    newest = run.checkpoints()[0].path
    whole = newest.read_bytes()
    damage(newest)
    target = tmp_path / "out.safetensors"
    code, value, _ = colabkit("restore", run.dir, "--mirror", tmp_path / "copies", "--to", target)
    assert (code, value["step"]) == (0, 2)
    assert target.read_bytes() == whole
    _, value, text = colabkit("restore", run.dir, "--to", target)
    assert value["step"] == 1
    assert f"passed over {newest.name}" in text
    damage(run.checkpoints()[1].path)
    target.unlink()
    assert colabkit("restore", run.dir, "--to", target)[0] == 30
    assert not target.exists()


def test_prune_keeps_what_is_whole(tmp_path, colabkit):
    """A damaged newest file does not count; a dry run deletes nothing; what goes is older than the kept ones."""
    run = made(tmp_path / "one", 1, 2, 3, 4)
    damage(run.checkpoints()[0].path)
    _, value, _ = colabkit("prune", run.dir, "--keep", 2, "--dry-run")
    assert len(value["planned"]) == 1
    assert [entry.step for entry in run.checkpoints()] == [4, 3, 2, 1]
    assert cli.main(["runs", "prune", str(run.dir), "--keep", "2"]) == 0
    assert [entry.step for entry in run.checkpoints()] == [4, 3, 2]


def test_prune_waits_for_what_is_confirmed(tmp_path):
    """Of a mirror only what is older than enough confirmed states goes, and nothing while somebody writes."""
    storage = FaultyStorage()
    run = made(tmp_path / "one", 1, 2, 3, mirror=storage, size=0)
    storage.arrives = "no"
    with open_run(run.dir, keep=9, mirror=storage) as again:
        again.save({"x": np.full(1000, 4)}, step=4)
        with pytest.raises(CheckpointError, match="not yet in"):
            again.flush(timeout=0.5)
        found = inspect.survey(run.dir, storage)
        plans = [inspect.plan_pruning(found, keep=keep) for keep in (2, 3)]
        assert [[copy.name.step for copy in plan.copies if not copy.here] for plan in plans] == [[1], []]
        with pytest.raises(RunBusyError):
            inspect.prune(found, plans[0])
        storage.arrive()
    inspect.prune(found, plans[0])
    assert sorted(name.step for name, _ in remote_store.listed(storage)) == [2, 3, 4]


def test_prune_keeps_what_others_borrow_from(tmp_path, colabkit):
    """The complete file that thin ones borrow from stays, however many states are newer."""
    run = made(tmp_path / "one", 1, 2, 3, 4, mirror=tmp_path / "copies")
    colabkit("prune", run.dir, "--mirror", tmp_path / "copies", "--keep", 2)
    left = [path.name[:14] for path in sorted((tmp_path / "copies" / "checkpoints").iterdir())]
    assert left == ["step-000000001", "step-000000003", "step-000000004"]
    assert colabkit("verify", run.dir, "--mirror", tmp_path / "copies")[0] == 0


def test_compare_names_what_differs(tmp_path, colabkit):
    """Step and size of the newest states; what is the same is counted."""
    one, other = made(tmp_path / "one", 1), made(tmp_path / "other", 2)
    _, value, text = colabkit("compare", one.dir, other.dir)
    assert value["differences"]["step"] == [1, 2]
    assert "step: 1 -> 2" in text
    assert value["same"] > 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("list", "no-such-folder"), 22),
        (("list", "ftp://host/runs"), 7),
        (("restore",), 2),
        (("restore", "."), 22),
        (("compare", "."), 2),
        (("prune", ".", "--keep", "1"), 6),
        (("restore", "one", "--step", "7"), 22),
        (("restore", "one", "--best"), 6),
        (("restore", "one", "--best", "--step", "1"), 2),
        (("list", "--mirror", "x"), 6),
    ],
)
def test_bad_input_is_typed(tmp_path, monkeypatch, colabkit, words, code):
    """A missing run, an unknown address, too many or too few runs: each has its own exit code."""
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "one", 1)
    assert colabkit(*words)[0] == code
    assert code == 2 or "What to do: " in colabkit(*words)[2]


def test_foreign_and_hostile_files_are_shown_not_believed(tmp_path, colabkit):
    """A file with a checkpoint's name and other content is listed as unreadable, is damaged, and is not restored."""
    run = made(tmp_path / "one", 1)
    for content in (b"", b"\xff" * 100, b"\x10" + bytes(7) + b'{"__metadata__"'):
        (run.dir / naming.FOLDER / "step-000000009-0123456789ab.safetensors").write_bytes(content)
        code, value, text = colabkit("list", run.dir)
        assert code == 0
        assert value["runs"][0]["checkpoints"][0]["unreadable"]
        assert "cannot be read" in text
        assert colabkit("verify", run.dir)[0] == 1
        assert colabkit("restore", run.dir, "--to", tmp_path / "out")[1]["step"] == 1


@pytest.mark.parametrize("word", ["delete", "remove", "rm"])
def test_who_wants_to_delete_a_run_is_not_sent_to_restore(colabkit, word):
    """There is no such command: the way is told, and that it has two folders."""
    code, _, said = colabkit(word, "colabkit-runs/digits")
    assert code == 2
    assert "Did you mean" not in said
    assert "delete its folder and that of its mirror" in said
