"""Every source keeps the contract; gs:// does in a file of its own."""

from __future__ import annotations

import json

import pytest

from colabkit.testing.contracts.source import DATA, SecretSourceContract, Served, SourceContract
from colabkit.testing.google_drive import CREDENTIALS, FakeDrive
from colabkit.testing.google_drive import TOKEN as DRIVE_TOKEN
from colabkit.testing.http import Fault
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.testing.web import FakeWeb


def broken(resource):
    """Make break_at and repair for a resource of a site."""

    def break_at(at, times):
        resource.faults.append(Fault(kind="reset", at=at, times=times))

    return {"break_at": break_at, "repair": resource.faults.clear, "replace": resource.replace}


def counted(*sites):
    """Make asked and sent for some sites."""
    return {
        "asked": lambda: sum(len(site.seen) for site in sites),
        "sent": lambda: sum(site.sent for site in sites),
    }


@pytest.fixture
def played(monkeypatch):
    """Start a web of some worlds, for this process."""
    webs = []

    def play(*worlds):
        web = FakeWeb(*worlds)
        webs.append(web)
        web.__enter__()
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)

    yield play
    for web in webs:
        web.__exit__()


class TestWeb(SecretSourceContract):
    """An address with a password and a key in it."""

    @pytest.fixture
    def served(self, server):
        """Serve it."""
        resource = server.put("file.bin", DATA)
        address = server.url("file.bin").replace("//", "//ada:open-sesame@") + "?key=open-sesame"
        return Served(text=address, secret="open-sesame", **counted(server), **broken(resource))


class TestCurl(SecretSourceContract):
    """A pasted command with a token in a header."""

    @pytest.fixture
    def served(self, server):
        """Serve it."""
        resource = server.put("file.bin", DATA)
        command = f"curl -sL -H 'Authorization: Bearer open-sesame' {server.url('file.bin')}"
        return Served(text=command, secret="open-sesame", **counted(server), **broken(resource))


class TestKaggle(SecretSourceContract):
    """A file of a dataset, asked for with a token, behind signed addresses."""

    @pytest.fixture
    def served(self, played, monkeypatch):
        """Play Kaggle."""
        kaggle = FakeKaggle()
        played(kaggle)
        monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
        bundle = kaggle.put("datasets/ada/big", {"file.bin": DATA})
        kaggle.sign("datasets/ada/big", "file.bin")
        resource = kaggle.storage.resources["kaggle-data-sets/datasets/ada/big/1/file.bin"]

        def replace(data):
            bundle.files["file.bin"] = data

        how = {**broken(resource), "replace": replace}
        return Served(text="kaggle:ada/big/file.bin", secret=TOKEN, **counted(kaggle._api, kaggle.storage), **how)


class TestDriveLink(SourceContract):
    """A large file that anybody with the link may open."""

    @pytest.fixture
    def served(self, played):
        """Play Drive."""
        drive = FakeDrive()
        played(drive)
        identity = drive.put("file.bin", DATA)
        link = f"https://drive.google.com/file/d/{identity}/view?usp=sharing"
        return Served(text=link, **counted(drive.front, drive.storage), **broken(drive.files[identity]))


class TestDriveAccount(SecretSourceContract):
    """A file of one's own Drive, through the account."""

    @pytest.fixture
    def served(self, played, monkeypatch, tmp_path_factory):
        """Play Drive, and sign in."""
        drive = FakeDrive()
        played(drive)
        path = tmp_path_factory.mktemp("google") / "credentials.json"
        path.write_text(json.dumps(CREDENTIALS))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        folder = drive.folder("data", public=False)
        identity = drive.put("file.bin", DATA, parent=folder, public=False)
        how = broken(drive.files[identity])

        def replace(data):
            drive.items[identity].data = data
            drive.files[identity].replace(data)

        how["replace"] = replace
        return Served(text="drive:data/file.bin", secret=DRIVE_TOKEN, **counted(drive.interface), **how)
