"""The Hub: what is fetched is pinned and verified, what is pushed is one commit, and refusals are in words."""

import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

from colabkit._internal.retry import Backoff
from colabkit.errors import (
    AccessError,
    AddressError,
    BusyError,
    ColabKitError,
    ExistsError,
    IntegrityError,
    NotFoundError,
    OfflineError,
)
from colabkit.testing.contracts.source import DATA, SecretSourceContract, Served
from colabkit.testing.http import Fault
from colabkit.testing.huggingface import LARGE, TOKEN
from colabkit.transfer import fetch, fetch_details, push, push_details
from colabkit.transfer.sources.registry import open_source

FILES = {"config.json": b"{}", "data/train.csv": b"7,0,0", "data/test.csv": b"7,0", "model.bin": b"w" * (LARGE + 7)}


@pytest.fixture
def hub(empty_hub, monkeypatch):
    """Play the Hub with a model and a data set; nobody is signed in."""
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    empty_hub.add("models/ada/net", dict(FILES))
    empty_hub.add("datasets/ada/digits", {"train.csv": b"7"})
    return empty_hub


def _below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hf:ada/net", "hf:ada/net"),
        ("hf://ada/net/config.json", "hf:ada/net/config.json"),
        ("hf:models/ada/net@v1.0/a/b.bin", "hf:ada/net@v1.0/a/b.bin"),
        ("hf:datasets/ada/digits@refs/convert/parquet/x", "hf:datasets/ada/digits@refs%2Fconvert%2Fparquet/x"),
        ("hf:spaces/ada/demo", "hf:spaces/ada/demo"),
        ("hf:gpt2", "hf:gpt2"),
        ("https://huggingface.co/ada/net", "hf:ada/net"),
        ("https://huggingface.co/ada/net/blob/main/config.json", "hf:ada/net@main/config.json"),
        ("https://huggingface.co/datasets/ada/digits/tree/main/data", "hf:datasets/ada/digits@main/data/"),
        ("hf download ada/net", "hf:ada/net"),
        ("!huggingface-cli download ada/digits --repo-type dataset --revision v2", "hf:datasets/ada/digits@v2"),
        ("!hf download ada/net a.bin --local-dir m --local-dir-use-symlinks False", "hf:ada/net/a.bin"),
        ("!huggingface-cli download --exclude *.bin --resume-download ada/net --local-dir x", "hf:ada/net"),
    ],
)
def test_addresses_pages_and_commands_name_the_same(text, shown):
    """Each reads back as itself."""
    assert open_source(text).source.shown == shown
    assert open_source(shown).source.shown == shown


@pytest.mark.parametrize("text", ["hf:", "hf:a/../b", "hf:ada/net@", "hf:ada/net/../x", "hf:ada/net//x", "hf:a b/c"])
def test_what_names_nothing_is_refused(text):
    """The message has the form."""
    with pytest.raises(AddressError, match="hf:OWNER/NAME"):
        open_source(text)


def test_a_large_file_is_verified_by_the_hash_that_the_hub_tells(hub, tmp_path):
    """X-Linked-ETag is the sha256 of the bytes; a flipped byte gives no file. The token goes nowhere else."""
    hub.repos["models/ada/net"].private = True
    os.environ["HF_TOKEN"] = TOKEN
    try:
        done = fetch_details("hf:ada/net/model.bin", tmp_path / "a.bin")
        assert done.path.read_bytes() == FILES["model.bin"]
        assert done.checksum.startswith("sha256:")
        cdn = [seen for seen in hub.seen if seen.path.startswith("/cdn/")]
        assert cdn
        assert all("authorization" not in seen.headers for seen in cdn)
        resource = next(value for name, value in hub.resources.items() if name.startswith("cdn/"))
        resource.faults = [Fault(kind="flip", at=9, times=9)]
        with pytest.raises(IntegrityError):
            fetch("hf:ada/net/model.bin", tmp_path / "b.bin", overwrite=True)
    finally:
        del os.environ["HF_TOKEN"]
    assert not (tmp_path / "b.bin").exists()


@pytest.mark.parametrize(
    ("address", "name", "files"),
    [
        ("hf:ada/net", "net", FILES),
        ("hf:ada/net/data/", "data", {"train.csv": b"7,0,0", "test.csv": b"7,0"}),
        ("hf:ada/net/data/tr*.csv", "data", {"train.csv": b"7,0,0"}),
        ("hf:datasets/ada/digits", "digits", {"train.csv": b"7"}),
    ],
)
def test_a_repository_a_folder_or_a_pattern_is_many_files(hub, tmp_path, address, name, files):
    """The second call finds them and asks nobody."""
    folder = fetch(address, f"{tmp_path}/")
    assert (folder.name, _below(folder)) == (name, files)
    hub.close()
    assert fetch_details(address, f"{tmp_path}/").from_cache


def test_a_command_puts_its_files_where_the_hubs_own_puts_them(hub, tmp_path):
    """Hf download with --local-dir, beside the real one."""
    for number, words in enumerate(
        (
            "ada/net config.json data/train.csv --local-dir OUT",
            "ada/net --include data/* --exclude *test* --local-dir OUT",
        )
    ):
        theirs, ours = tmp_path / f"theirs{number}", tmp_path / f"ours{number}"
        real = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", *words.replace("OUT", str(theirs)).split()]
        subprocess.run(real, check=True, capture_output=True, timeout=120)
        fetch(f"!hf download {words.replace('OUT', str(ours))}")
        assert _below(ours) == {name: data for name, data in _below(theirs).items() if not name.startswith(".cache")}


def test_what_the_hubs_own_client_has_is_not_fetched_again(hub, tmp_path):
    """Its cache is looked into without asking anybody."""
    from huggingface_hub import hf_hub_download

    path = hf_hub_download("ada/net", "config.json", endpoint=hub.endpoint, cache_dir=f"{os.environ['HF_HOME']}/hub")
    hub.close()
    assert fetch("hf:ada/net/config.json").read_bytes() == FILES["config.json"]
    assert str(fetch("hf:ada/net/config.json")) == path


@pytest.mark.parametrize(
    "address", ["hf:ada/net", "hf:ada/net/data/", "hf:datasets/ada/digits", "hf:ada/net/model.bin"]
)
def test_what_is_fetched_is_in_the_hubs_own_cache(hub, address, caplog):
    """from_pretrained reads there: the client finds the files offline, and online sends for none of them again."""
    from huggingface_hub import snapshot_download

    caplog.set_level("INFO", logger="colabkit")
    fetched = fetch(address, progress=False)
    assert "is in the Hub's own cache, too" in caplog.text
    before = hub.sent
    kind = "dataset" if "datasets" in address else None
    how = {
        "allow_patterns": _patterns(address),
        "repo_type": kind,
        "cache_dir": f"{os.environ['HF_HOME']}/hub",
        "endpoint": hub.endpoint,
    }
    online = snapshot_download("ada/digits" if kind else "ada/net", **how)
    assert hub.sent - before < LARGE / 10
    hub.close()
    offline = snapshot_download("ada/digits" if kind else "ada/net", local_files_only=True, **how)
    assert offline == online
    found = _below(pathlib.Path(offline))
    ours = {"model.bin": fetched.read_bytes()} if fetched.is_file() else _below(fetched)
    assert {name.removeprefix("data/") if "/data/" in address else name: data for name, data in found.items()} == ours


def _patterns(address):
    return {"hf:ada/net/data/": ["data/*"], "hf:ada/net/model.bin": ["model.bin"]}.get(address)


def test_a_cache_that_cannot_be_filled_keeps_nobody_from_the_files(hub, caplog):
    """It is told, and the files are here."""
    pathlib.Path(os.environ["HF_HOME"], "hub").write_text("no folder")
    assert _below(fetch("hf:ada/net", progress=False)) == FILES
    assert "not in the Hub's own cache" in caplog.text


def test_what_nobody_may_is_asked_for_with_the_secret(hub, tmp_path, monkeypatch):
    """A private repository is opened by HF_TOKEN from the notebook's secrets; without one both reasons are told."""
    hub.repos["models/ada/net"].private = True
    with pytest.raises(NotFoundError, match=r"no such repository(.|\n)*HF_TOKEN"):
        fetch("hf:ada/net/config.json", tmp_path / "a.json")
    (tmp_path / ".env").write_text(f"HF_TOKEN={TOKEN}\n")
    monkeypatch.chdir(tmp_path)
    assert fetch("hf:ada/net/config.json", tmp_path / "a.json").read_bytes() == b"{}"


def test_refusals_say_what_and_why_and_what_to_do(hub, tmp_path):
    """A gated model, a file, a branch and a repository that are not there."""
    hub.add("models/ada/gated", {"a.bin": b"w"}, gated=True)
    with pytest.raises(AccessError, match=r"is gated(.|\n)*accept(.|\n)*HF_TOKEN"):
        fetch("hf:ada/gated/a.bin", tmp_path / "a")
    with pytest.raises(NotFoundError, match=r"no file hf:ada/net/nope(.|\n)*tree/main"):
        fetch("hf:ada/net/nope", tmp_path / "a")
    with pytest.raises(NotFoundError, match="has no v9"):
        fetch("hf:ada/net@v9/config.json", tmp_path / "a")
    with pytest.raises(NotFoundError, match="no file matches"):
        fetch("hf:ada/net/*.h5", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_is_busy_or_gone_is_told(hub, tmp_path, monkeypatch):
    """A 503 passes, many do not; no network is no network."""
    hub.busy = 1
    assert fetch("hf:ada/net/config.json", tmp_path / "a.json").read_bytes() == b"{}"
    monkeypatch.setattr("colabkit._clients.huggingface.Backoff", lambda tries: Backoff(tries=min(tries, 1), first=0.01))
    hub.busy = 99
    with pytest.raises(BusyError, match="503"):
        fetch("hf:ada/net/data/train.csv", tmp_path / "b.csv")
    hub.close()
    with pytest.raises(OfflineError, match="cannot be reached"):
        fetch("hf:ada/net/data/train.csv", tmp_path / "b.csv")


@pytest.fixture
def signed_in(monkeypatch):
    """Sign in."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)


def test_a_push_is_one_commit_and_the_same_again_is_none(hub, signed_in, tmp_path):
    """A new repository is made private; what already exists is not sent; what differs is not replaced unasked."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "sub" / "w.bin").write_bytes(b"w" * (LARGE + 1))
    assert push(folder, "hf:ada/new", message="first") == "hf:ada/new"
    repo = hub.repos["models/ada/new"]
    assert repo.private
    assert repo.files == {"config.json": b"{}", "sub/w.bin": b"w" * (LARGE + 1)}
    assert repo.commits == 2
    assert push_details(folder, "hf:ada/new").sent == 0
    assert repo.commits == 2
    assert push(b"notes", "hf:ada/new/README.md") == "hf:ada/new/README.md"
    (folder / "config.json").write_bytes(b"[]")
    with pytest.raises(ExistsError, match=r"config\.json(.|\n)*overwrite=True"):
        push(folder, "hf:ada/new")
    assert push_details(folder, "hf:ada/new", overwrite=True).sent == 1
    assert repo.files["config.json"] == b"[]"
    assert fetch_details("hf:ada/new", tmp_path / "back").size == sum(map(len, repo.files.values()))


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, signed_in):
    """What is there counts, not what was answered."""
    hub.lost = 1
    push(b"7", "hf:ada/net/new.txt")
    assert hub.repos["models/ada/net"].files["new.txt"] == b"7"
    assert hub.repos["models/ada/net"].commits == 2


def test_a_push_that_may_not_is_refused(hub, tmp_path):
    """Without a token, into a place without a name, to a space that is not there."""
    with pytest.raises(ColabKitError, match="HF_TOKEN"):
        push(b"7", "hf:ada/net/new.txt")
    with pytest.raises(AddressError, match="bytes have no name"):
        push(b"7", "hf:ada/net")


class TestHubFile(SecretSourceContract):
    """A large file of a private repository keeps the contract of sources."""

    @pytest.fixture
    def served(self, hub, signed_in):
        """Serve it from the Hub's storage, where its faults go."""
        repo = hub.add("models/ada/weights", {"a.bin": DATA}, private=True)
        hub.put(f"cdn/{hashlib.sha256(DATA).hexdigest()}", DATA)
        stored = next(iter(hub.resources.values()))

        def replace(data):
            repo.files["a.bin"] = data
            repo.commits += 1

        return Served(
            text="hf:ada/weights/a.bin",
            asked=lambda: len(hub.seen),
            sent=lambda: hub.sent,
            break_at=lambda at, times: stored.faults.append(Fault(kind="reset", at=at, times=times)),
            repair=stored.faults.clear,
            replace=replace,
            secret=TOKEN,
        )
