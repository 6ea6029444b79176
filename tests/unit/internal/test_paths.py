"""Paths and addresses as users pass them."""

import pytest

import colabkit as ck
from colabkit.errors import AddressError


@pytest.mark.parametrize("nothing", [None, 5, b"runs"])
@pytest.mark.parametrize(
    "verb",
    [ck.fetch, ck.open_run, ck.install, ck.lock, ck.download, ck.drive.mount, lambda place: ck.push(b"7", place)],
)
def test_what_is_no_path_is_refused_in_words(verb, nothing):
    """A variable that was never set is no error out of the standard library."""
    with pytest.raises(AddressError, match="neither a path nor an address") as caught:
        verb(nothing)
    assert type(nothing).__name__ in caught.value.why


PATHS_ONLY = {
    "fetch to": lambda address: ck.fetch("digits.csv", address),
    "push from": lambda address: ck.push(address, "out/"),
    "download": ck.download,
    "upload": ck.upload,
    "save_model": lambda address: ck.save_model(object(), address),
    "export_model": lambda address: ck.export_model(object(), address),
    "load_model": ck.load_model,
    "plot": lambda address: ck.plot({"loss": [2.0, 1.0]}, address),
    "plot of": ck.plot,
    "tensorboard": ck.tensorboard,
    "track": ck.track,
}


@pytest.mark.parametrize("verb", PATHS_ONLY)
@pytest.mark.parametrize(
    "address", ["drive:runs/digits.zip", "gs://bucket/digits.zip", "https://example.org/digits.zip"]
)
def test_an_address_becomes_no_folder_of_that_name(tmp_path, monkeypatch, verb, address):
    """`ck.save_model(result, "drive:digits.zip")` would lie on a machine that is thrown away, in silence."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.csv").write_text("7,0,0")
    with pytest.raises(AddressError, match="is an address, and this takes a path") as caught:
        PATHS_ONLY[verb](address)
    assert address in caught.value.do
    assert caught.value.why
    assert [path.name for path in tmp_path.iterdir()] == ["digits.csv"]


def test_a_pack_is_no_address(tmp_path, monkeypatch):
    """The file of a run goes to this machine first."""
    monkeypatch.chdir(tmp_path)
    run = ck.open_run("run")
    run.save({"seen": 1}, step=1)
    run.close()
    with pytest.raises(AddressError, match="is an address") as caught:
        run.pack("drive:best.run.zip")
    assert 'ck.push(FILE, "drive:best.run.zip")' in caught.value.do


@pytest.mark.parametrize("verb", ["push from", "download", "save_model", "plot", "tensorboard"])
def test_no_name_at_all_is_not_the_working_folder(tmp_path, monkeypatch, verb):
    """A variable that is empty must not pack or show all that lies here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AddressError, match="the path is empty"):
        PATHS_ONLY[verb]("")


def test_a_path_of_such_a_name_is_written_with_a_dot(tmp_path, monkeypatch):
    """The way out that the error tells."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.csv").write_text("7,0,0")
    assert ck.fetch("digits.csv", "./drive:x.csv").read_text() == "7,0,0"
    assert (tmp_path / "drive:x.csv").is_file()


SLIPS = {
    "drive.google.com/drive/folders/1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2": "looks like an address",
    "huggingface.co/me/x": "looks like an address",
    "$HOME/runs/digits": r"has \$HOME in it",
    "runs/${NAME}": r"has \$\{NAME\} in it",
    '"runs/digits"': "has quotes in it",
    "'gs://bucket/digits'": "has quotes in it|did you mean gs://bucket/digits",
}


@pytest.mark.parametrize("text", SLIPS)
@pytest.mark.parametrize("verb", [ck.open_run, lambda place: ck.push(b"7", place), ck.plot])
def test_a_slip_in_a_path_becomes_no_folder_of_that_name(tmp_path, monkeypatch, verb, text):
    """An address without https, a variable of the shell and a second pair of quotes were folders here, in silence."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AddressError, match=SLIPS[text]) as caught:
        verb(text)
    assert caught.value.why
    assert "write ./ before it" in caught.value.do
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_called_so_is_still_found(tmp_path, monkeypatch):
    """A run that an earlier version began at `$HOME/r`, a path with ./ and a `Path` are what they say."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "$HOME" / "r").mkdir(parents=True)
    assert ck.open_run("$HOME/r").dir == tmp_path / "$HOME" / "r"
    assert ck.open_run("./kaggle.com/r").dir == tmp_path / "kaggle.com" / "r"
    assert ck.push(b"7", tmp_path / "$X") == str(tmp_path / "$X")
    assert ck.open_run("results.tar/r").dir == tmp_path / "results.tar" / "r"
