"""Pasted gsutil and gcloud commands: read, never run; what would change the result is refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.errors import AddressError, ColabKitError
from colabkit.transfer import fetch
from colabkit.transfer.commands import gsutil


@pytest.mark.parametrize(
    ("command", "shown", "to"),
    [
        ("gsutil cp gs://bucket/a.csv b.csv", "gs://bucket/a.csv", "b.csv"),
        ("!gsutil cp gs://bucket/a.csv .", "gs://bucket/a.csv", "."),
        ("gsutil -q cp 'gs://bucket/a b.csv' -", "gs://bucket/a b.csv", None),
        ("gsutil -m cp -R -n gs://bucket/data/ .", "gs://bucket/data/", "."),
        ("gsutil -m cp gs://bucket/data/*.csv to", "gs://bucket/data/*.csv", "to"),
        ("gcloud storage cp gs://bucket/a.csv#17 x", "gs://bucket/a.csv#17", "x"),
        ("gcloud storage cp --recursive gs://bucket/data to/", "gs://bucket/data", "to/"),
    ],
)
def test_source_and_place_are_read(command, shown, to):
    """What it copies and where to, with folders and wildcards as many files."""
    order = gsutil.open_source(command)
    assert (order.source.shown, order.to) == (shown, to)


# What gsutil leaves on the disk with these objects and a folder "old" that was there before; where it asks for a folder
# that is there ("new", "data"), the files lie where cp of a system would put them.
_TREE = {"dir/a.csv": b"a", "dir/sub/b.csv": b"b", "dir/sub/deep/c.csv": b"c", "one.csv": b"1"}


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("cp -r gs://bucket/dir/* data", "data/a.csv data/sub/b.csv data/sub/deep/c.csv"),
        ("cp -r gs://bucket/dir/* old", "old/a.csv old/sub/b.csv old/sub/deep/c.csv"),
        ("cp gs://bucket/dir/* old", "old/a.csv"),
        ("cp gs://bucket/dir/*.csv old", "old/a.csv"),
        ("cp gs://bucket/dir/** old", "old/a.csv old/b.csv old/c.csv"),
        ("cp -r gs://bucket/d* old", "old/dir/a.csv old/dir/sub/b.csv old/dir/sub/deep/c.csv"),
        ("cp -r gs://bucket/dir new", "new/a.csv new/sub/b.csv new/sub/deep/c.csv"),
        ("cp -r gs://bucket/dir/ new", "new/a.csv new/sub/b.csv new/sub/deep/c.csv"),
        ("cp -r gs://bucket/dir old", "old/dir/a.csv old/dir/sub/b.csv old/dir/sub/deep/c.csv"),
        ("cp -r gs://bucket/dir .", "dir/a.csv dir/sub/b.csv dir/sub/deep/c.csv"),
        ("cp -r gs://bucket/one.csv new.csv", "new.csv"),
        ("cp -r gs://bucket/one.csv old", "old/one.csv"),
        ("cp gs://bucket/one.csv old", "old/one.csv"),
    ],
)
@pytest.mark.parametrize("program", ["gsutil -m", "gcloud storage"])
def test_files_lie_where_the_program_puts_them(gcs, tmp_path, monkeypatch, program, words, files):
    """Folders, wildcards and single objects with -r; run again, the same line finds what it made."""
    for name, data in _TREE.items():
        gcs.put("bucket", name, data)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").mkdir()
    first = fetch(f"{program} {words}")

    def made():
        return {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.csv")}

    # Each object holds the letter of its name.
    assert made() == {name: b"1" if "one" in words else name[-5:-4].encode() for name in files.split()}
    assert first.exists()
    assert fetch(f"{program} {words}").resolve() == first.resolve()
    assert set(made()) == set(files.split())


@pytest.mark.parametrize("command", ["gsutil -u payer cp", "gcloud storage cp --billing-project=payer"])
def test_the_project_that_pays_is_kept(command):
    """-u and --billing-project name it."""
    assert gsutil.open_source(f"{command} gs://bucket/a b").source.address.project == "payer"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("gsutil -o GSUtil:x=1 cp gs://bucket/a b", "the pasted command has -o"),
        ("gsutil -i robot@x cp gs://bucket/a b", "the pasted command has -i"),
        ("gsutil cp -A gs://bucket/a b", "the pasted command has -A"),
        ("gsutil cp -P gs://bucket/a b", "the pasted command has -P"),
        ("gsutil cp -I b", "the pasted command has -I"),
        ("gcloud storage cp --do-not-decompress gs://bucket/a b", "has --do-not-decompress"),
        ("gcloud storage cp --impersonate-service-account=x gs://bucket/a b", "has --impersonate-service-account"),
        ("gsutil cp gs://bucket/data/ to", "the pasted command has no -r"),
        ("gsutil rsync -d gs://bucket/a b", "the pasted command has -d"),
        ("gcloud compute ssh vm", "gcloud compute ssh cannot be fetched"),
        ("gsutil cp a gs://bucket/b c", "copies from a to c"),
        ("gsutil cp gs://bucket/a", "names one place"),
        ("gsutil cp a gs://bucket/b", r"use ck.push\("),
        ("gsutil cp gs://bucket/a gs://other/b", r"use ck.push\("),
        ("gsutil cp gs://bucket/a $HOME/b", r"variable \$HOME(.|\n)*f\"gsutil cp gs://bucket/a {HOME}/b\""),
        ("gsutil cp gs://bucket/a b && rm c", "the pasted line removes c"),
    ],
)
def test_what_means_more_is_refused_by_name(command, said):
    """An option, a verb or a direction that fetch does not do is an AddressError that names it."""
    with pytest.raises(AddressError, match=said):
        fetch(command)


def test_a_pasted_command_fetches(gcs, tmp_path):
    """The whole way: the file is where the command puts it, packed as it is."""
    gcs.put("bucket", "a.zip", b"not unpacked")
    assert fetch(f"gsutil cp gs://bucket/a.zip {tmp_path}/x").read_bytes() == b"not unpacked"
    assert (tmp_path / "x").is_file()


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    """Garbage after the program's name is our error or an order, never another exception."""
    for program in ("gsutil cp", "gcloud storage cp"):
        try:
            gsutil.open_source(f"{program} gs://bucket/a {text}")
        except ColabKitError:
            continue
