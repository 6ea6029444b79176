"""Pasted gsutil and gcloud commands: read, never run; what would change the result is refused by name."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.errors import AddressError, ColabKitError
from colabkit.transfer import _gsutil, fetch


@pytest.mark.parametrize(
    ("command", "shown", "to"),
    [
        ("gsutil cp gs://bucket/a.csv b.csv", "gs://bucket/a.csv", "b.csv"),
        ("!gsutil cp gs://bucket/a.csv .", "gs://bucket/a.csv", f".{os.sep}"),
        ("gsutil -q cp 'gs://bucket/a b.csv' -", "gs://bucket/a b.csv", None),
        ("$ gsutil -m cp -r gs://bucket/data ./to", "gs://bucket/data/", f"./to{os.sep}"),
        ("gsutil -m cp -R -n gs://bucket/data/ .", "gs://bucket/data/", f".{os.sep}"),
        ("gsutil -m cp gs://bucket/data/*.csv to", "gs://bucket/data/*.csv", f"to{os.sep}"),
        ("gcloud storage cp gs://bucket/a.csv#17 x", "gs://bucket/a.csv#17", "x"),
        ("gcloud storage cp --recursive gs://bucket/data to/", "gs://bucket/data/", f"to{os.sep}"),
        ("gcloud --quiet storage cp -r --continue-on-error gs://bucket/data to", "gs://bucket/data/", f"to{os.sep}"),
    ],
)
def test_source_and_place_are_read(command, shown, to):
    """What it copies and where to, with folders and wildcards as many files."""
    order = _gsutil.open_source(command)
    assert (order.source.shown, order.to) == (shown, to)


@pytest.mark.parametrize("command", ["gsutil -u payer cp", "gcloud storage cp --billing-project=payer"])
def test_the_project_that_pays_is_kept(command):
    """-u and --billing-project name it."""
    assert _gsutil.open_source(f"{command} gs://bucket/a b").source.address.project == "payer"


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
        ("gsutil rsync gs://bucket/a b", "gsutil rsync .* cannot be fetched"),
        ("gcloud compute ssh vm", "gcloud compute ssh cannot be fetched"),
        ("gsutil cp gs://bucket/a gs://bucket/b c", "has 2 sources"),
        ("gsutil cp gs://bucket/a", "has 0 sources"),
        ("gsutil cp a gs://bucket/b", r"use push\(path, target\)"),
        ("gsutil cp gs://bucket/a gs://other/b", r"use push\(path, target\)"),
        ("gsutil cp gs://bucket/a $HOME/b", "the shell would replace"),
        ("gsutil cp gs://bucket/a b && rm b", "means something to the shell"),
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
            _gsutil.open_source(f"{program} gs://bucket/a {text}")
        except ColabKitError:
            continue
