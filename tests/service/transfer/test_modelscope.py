"""ModelScope: what is fetched is verified by the hash of the listing, whole or refused in words."""

import pytest

from colabkit._clients import modelscope
from colabkit.errors import AccessError, AddressError, BusyError, ColabKitError, IntegrityError, NotFoundError
from colabkit.testing.contracts.source import DATA, SecretSourceContract, Served
from colabkit.testing.http import Fault
from colabkit.testing.modelscope import TOKEN, FakeScope
from colabkit.transfer import fetch
from colabkit.transfer.sources.registry import open_source

FILES = {"config.json": b"{}", "data/train.csv": b"7,0,0", "data/deep/test.csv": b"7,0", "model.bin": b"w" * 1_000_007}


@pytest.fixture
def scope(monkeypatch, quick_retries):
    """Play ModelScope with a model and a data set; nobody is signed in."""
    with FakeScope() as played:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", played.endpoint)
        monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
        played.repos["models/ada/net"] = dict(FILES)
        played.repos["datasets/ada/digits"] = {f"{number}.csv": b"7" for number in range(450)}
        yield played


def _below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("modelscope:ada/net", "modelscope:ada/net"),
        ("modelscope://ada/net@v1/a/b.bin", "modelscope:ada/net@v1/a/b.bin"),
        ("https://www.modelscope.cn/models/ada/net", "modelscope:ada/net"),
        ("https://modelscope.cn/models/ada/net/summary", "modelscope:ada/net"),
        ("https://modelscope.cn/models/ada/net/file/view/master/a%20b.json", "modelscope:ada/net@master/a b.json"),
        ("https://www.modelscope.cn/datasets/ada/digits/files", "modelscope:datasets/ada/digits"),
    ],
)
def test_addresses_and_pages_name_the_same(text, shown):
    """Each reads back as itself."""
    assert open_source(text).source.shown == shown
    assert open_source(shown).source.shown == shown


@pytest.mark.parametrize("text", ["modelscope:", "modelscope:net", "modelscope:spaces/a/b", "modelscope:a/b/../c"])
def test_what_names_nothing_is_refused(text):
    """The message has the form."""
    with pytest.raises(AddressError, match="modelscope:OWNER/NAME"):
        open_source(text)


@pytest.mark.parametrize(
    ("address", "files"),
    [
        ("modelscope:ada/net", FILES),
        ("modelscope:ada/net/data/", {"train.csv": b"7,0,0", "deep/test.csv": b"7,0"}),
        ("modelscope:ada/net/*.json", {"config.json": b"{}"}),
    ],
)
def test_a_repository_a_folder_or_a_pattern_is_many_files(scope, tmp_path, address, files):
    """The token of nobody goes to the storage."""
    assert _below(fetch(address, tmp_path / "to", progress=False)) == files


def test_a_listing_is_whole_or_refused(scope, tmp_path, monkeypatch):
    """ModelScope leaves out what is too much for one answer: it is asked folder by folder, and a data set by pages."""
    assert len(_below(fetch("modelscope:datasets/ada/digits", tmp_path / "pages", progress=False))) == 450
    scope.most = 4
    monkeypatch.setattr(modelscope, "MOST", 4)
    assert _below(fetch("modelscope:ada/net", tmp_path / "walked", progress=False)) == FILES
    scope.most = 3
    monkeypatch.setattr(modelscope, "MOST", 3)
    with pytest.raises(ColabKitError, match="cannot be listed as a whole"):
        fetch("modelscope:ada/net", tmp_path / "refused", progress=False)
    assert not (tmp_path / "refused").exists()


def test_a_flipped_byte_is_no_file(scope, tmp_path):
    """The listing's sha256 is compared."""
    fetch("modelscope:ada/net/model.bin", tmp_path / "a.bin", progress=False)
    resource = next(value for name, value in scope.resources.items() if len(value.data) > 1000)
    resource.faults = [Fault(kind="flip", at=9, times=9)]
    with pytest.raises(IntegrityError):
        fetch("modelscope:ada/net/model.bin", tmp_path / "b.bin", progress=False)
    assert not (tmp_path / "b.bin").exists()


def test_refusals_say_what_to_do(scope, tmp_path, monkeypatch):
    """No such repository, no such file, a folder written as a file, a wrong token, a service that is busy for good."""
    for text, words in (
        ("modelscope:ada/none", "MODELSCOPE_API_TOKEN"),
        ("modelscope:ada/net/none.bin", "there is no file"),
        ("modelscope:ada/net/data", "if it is a folder"),
        ("modelscope:ada/net@v9/config.json", "version"),
    ):
        with pytest.raises(NotFoundError, match=words):
            fetch(text, tmp_path / "a", progress=False)
    scope.busy = 1
    assert fetch("modelscope:ada/net/config.json", tmp_path / "b", progress=False).read_bytes() == b"{}"
    scope.busy = 99
    with pytest.raises((BusyError, ColabKitError), match="503"):
        fetch("modelscope:ada/net/config.json", tmp_path / "c", progress=False)


def test_a_private_one_is_opened_by_the_secret(scope, tmp_path, monkeypatch):
    """MODELSCOPE_API_TOKEN, which goes to ModelScope alone."""
    scope.private.add("models/ada/net")
    with pytest.raises((NotFoundError, AccessError)):
        fetch("modelscope:ada/net/config.json", tmp_path / "a", progress=False)
    (tmp_path / ".env").write_text(f"MODELSCOPE_API_TOKEN={TOKEN}\n")
    monkeypatch.chdir(tmp_path)
    assert fetch("modelscope:ada/net/config.json", tmp_path / "a", progress=False).read_bytes() == b"{}"
    storage = [seen for seen in scope.seen if seen.path.startswith("/oss/")]
    assert storage
    assert not any({"authorization", "cookie"} & seen.headers.keys() for seen in storage)


class TestScopeFile(SecretSourceContract):
    """A large file of a private repository."""

    @pytest.fixture
    def served(self, scope, monkeypatch):
        """Serve it."""
        monkeypatch.setenv("MODELSCOPE_API_TOKEN", TOKEN)
        scope.repos["models/ada/big"] = {"big.bin": DATA}
        scope.private.add("models/ada/big")
        faults = []

        def break_at(at, times):
            faults.append(Fault(kind="reset", at=at, times=times))

        def repair():
            faults.clear()
            for resource in scope.resources.values():
                resource.faults.clear()

        put = scope.put
        monkeypatch.setattr(scope, "put", lambda name, data: put(name, data, *faults))
        return Served(
            text="modelscope:ada/big/big.bin",
            asked=lambda: len(scope.seen),
            sent=lambda: scope.sent,
            break_at=break_at,
            repair=repair,
            replace=lambda data: scope.repos["models/ada/big"].update({"big.bin": data}),
            secret=TOKEN,
        )
