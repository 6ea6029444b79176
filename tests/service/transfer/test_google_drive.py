"""Google Drive: links, the pages in between, folders, documents, and files that only an account may open."""

import json
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit._clients.gdrive.link import parse
from colabkit._clients.gdrive.page import read
from colabkit.errors import AccessError, AddressError, BusyError, ColabKitError, NotFoundError, UnsupportedError
from colabkit.testing.google_drive import CREDENTIALS, TOKEN, FakeDrive
from colabkit.testing.http import Fault
from colabkit.testing.web import FakeWeb
from colabkit.transfer import fetch, fetch_details
from colabkit.transfer.sources import gdrive
from colabkit.transfer.sources.registry import open_source

ID = "1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2"
MIB = 1 << 20


@pytest.fixture
def drive(monkeypatch):
    """Play Drive to everything in this process that honours the environment; nobody is signed in."""
    monkeypatch.setattr(gdrive, "PAUSE", 0.0)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    played = FakeDrive()
    with FakeWeb(played) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield played


@pytest.fixture
def signed_in(monkeypatch, tmp_path_factory):
    """Leave credentials where google-auth looks for them."""
    path = tmp_path_factory.mktemp("google") / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


def link(identity: str) -> str:
    """Write the link that Drive's share button gives."""
    return f"https://drive.google.com/file/d/{identity}/view?usp=sharing"


def folder_link(identity: str) -> str:
    """Write the link of a folder."""
    return f"https://drive.google.com/drive/folders/{identity}?usp=sharing"


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        (ID, "file", ""),
        (f"https://drive.google.com/file/d/{ID}/view?usp=sharing", "file", ""),
        (f"https://drive.google.com/file/u/1/d/{ID}/edit", "file", ""),
        (f"https://drive.google.com/open?id={ID}", "file", ""),
        (f"https://drive.google.com/uc?export=download&id={ID}&confirm=t", "file", ""),
        (f"https://drive.google.com/a/example.org/uc?id={ID}", "file", ""),
        (f"https://drive.google.com/a/example.org/file/d/{ID}/view", "file", ""),
        (f"https://drive.google.com/u/1/open?id={ID}", "file", ""),
        (f"https://drive.usercontent.google.com/download?id={ID}&export=download", "file", ""),
        (f"https://drive.google.com/drive/folders/{ID}", "folder", ""),
        (f"https://drive.google.com/drive/u/0/mobile/folders/{ID}?usp=sharing", "folder", ""),
        (f"https://drive.google.com/folderview?id={ID}", "folder", ""),
        (f"https://drive.google.com/a/example.org/drive/folders/{ID}", "folder", ""),
        (f"https://drive.google.com/a/example.org/drive/u/0/folders/{ID}", "folder", ""),
        (f"https://docs.google.com/document/d/{ID}/edit#heading=h.1", "document", "docx"),
        (f"https://docs.google.com/document/u/0/d/{ID}/view", "document", "docx"),
        (f"https://docs.google.com/a/example.org/document/d/{ID}/edit", "document", "docx"),
        (f"https://docs.google.com/a/example.org/spreadsheets/d/{ID}/edit#gid=0", "spreadsheets", "xlsx"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/edit?gid=0#gid=0", "spreadsheets", "xlsx"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/export?format=csv&gid=12", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/export?exportFormat=csv", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/export?format=csv&range=A1:B2", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/gviz/tq?tqx=out:csv&sheet=Jan", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/gviz/tq?sheet=Jan", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/{ID}/pub?output=csv&gid=3", "spreadsheets", "csv"),
        (f"https://docs.google.com/spreadsheets/d/e/{ID}/pub?output=tsv", "spreadsheets", "tsv"),
        (f"https://docs.google.com/presentation/d/{ID}/export/pdf", "presentation", "pdf"),
    ],
)
def test_each_form_of_link_is_read(text, kind, wanted):
    """Whatever button the link was copied from, it names the same file."""
    found = parse(text)
    assert (found.kind, found.id, found.format) == (kind, ID, wanted)
    assert open_source(text).source.link == found


@pytest.mark.parametrize(
    "text",
    [
        "https://drive.google.com/",
        "https://drive.google.com/drive/my-drive",
        "https://drive.google.com/file/d/../view",
        "https://drive.google.com/open?id=",
        "https://drive.google.com/open?id=a%20b",
        f"https://drive.google.com/open?id={ID}&resourcekey=a%0d%0ab",
        "https://docs.google.com/document/d/e/2PACX-1v/pub",
        "https://docs.google.com/a/example.org/document/d/e/2PACX-1v/pub",
        "https://drive.google.com/a/example.org",
        f"https://docs.google.com/spreadsheets/d/{ID}/gviz/tq?tqx=out:../x",
        f"https://docs.google.com/spreadsheets/d/{ID}/export?format=../x",
    ],
)
def test_a_link_to_nothing_is_refused_before_any_network(text):
    """The message says how to copy a good one."""
    with pytest.raises(AddressError, match="Copy link"):
        open_source(text)


_SHEET = f"https://docs.google.com/spreadsheets/d/{ID}"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f"{_SHEET}/export?exportFormat=csv", f"{_SHEET}/export?format=csv"),
        (f"{_SHEET}/export?format=csv&gid=3", f"{_SHEET}/export?format=csv&gid=3"),
        (f"{_SHEET}/export?format=csv&range=A1:B2&gid=3", f"{_SHEET}/export?format=csv&range=A1%3AB2&gid=3"),
        (f"{_SHEET}/export?format=pdf&portrait=false", f"{_SHEET}/export?format=pdf&portrait=false"),
        (f"{_SHEET}/gviz/tq?tqx=out:csv&sheet=Jan 1", f"{_SHEET}/gviz/tq?tqx=out%3Acsv&sheet=Jan+1"),
        (f"{_SHEET}/gviz/tq?sheet=Jan", f"{_SHEET}/gviz/tq?sheet=Jan&tqx=out%3Acsv"),
        (f"{_SHEET}/pub?gid=3&single=true&output=csv", f"{_SHEET}/pub?gid=3&single=true&output=csv"),
        (f"{_SHEET}/pub".replace("/d/", "/d/e/"), f"{_SHEET}/pub?output=csv".replace("/d/", "/d/e/")),
    ],
)
def test_a_part_of_a_spreadsheet_is_asked_for_as_that_part(drive, text, asked):
    """Cells, a sheet by its name, what was published: never the whole workbook in silence, for an account neither."""
    drive.put("plan", b"7", mime="application/vnd.google-apps.spreadsheet", id=ID)
    assert gdrive.open_source(text).source.remote().target.url == asked
    drive.items[ID].public = False
    fetched = []

    class Account:
        def headers(self):
            return {"Authorization": "Bearer ya29"}

        def about(self, *_):
            fetched.append("the whole")
            return {"id": ID, "name": "plan", "mimeType": "application/vnd.google-apps.spreadsheet"}

        def remote(self, *_):
            return None

    source = gdrive.DriveFile(parse(text), find=Account)
    drive.documents.owner = "Bearer ya29"
    found = source.remote()
    if parse(text).part or parse(text).sheet:
        assert (found.target.url, found.target.headers) == (asked, {"Authorization": "Bearer ya29"})
        assert not fetched


def test_two_parts_of_a_sheet_are_two_files(drive, tmp_path):
    """The cache tells them apart."""
    one, two = (parse(f"{_SHEET}/gviz/tq?tqx=out:csv&sheet={name}").identity for name in ("Jan", "Feb"))
    assert one != two != parse(f"{_SHEET}/edit").identity


@given(st.text(max_size=80))
def test_a_link_is_read_or_refused(text):
    """Any text behind Drive's hosts is a link with plain parts, or our error."""
    for host in ("drive.google.com", "docs.google.com"):
        try:
            found = parse(f"https://{host}/{text}")
        except ColabKitError:
            continue
        assert parse(found.page).id == found.id
        assert all(letter.isalnum() or letter in "-_" for letter in found.id + found.resource_key + found.format)


@given(st.binary(max_size=3000) | st.text(alphabet="<>/adivp =\"'form#&;-").map(str.encode))
def test_a_page_is_read_whatever_is_on_it(page):
    """Garbage has no button; what is quoted of it is one printable line."""
    found = read(page)
    assert found.title.isprintable()
    assert found.error.isprintable()


def test_a_small_file_comes_under_its_own_name(drive, tmp_path):
    """A share link gives the file, not the page around it."""
    identity = drive.put("digits.csv", b"7,0,0")
    done = fetch_details(link(identity), f"{tmp_path}/")
    assert (done.path.name, done.path.read_bytes()) == ("digits.csv", b"7,0,0")
    assert fetch(identity, tmp_path / "bare.csv").read_bytes() == b"7,0,0"
    assert fetch_details(link(identity), f"{tmp_path}/").from_cache


def test_a_large_file_is_fetched_through_the_button(drive, tmp_path, blob):
    """The page that warns of viruses is passed, and the file comes in parts."""
    data = blob(5 * MIB)
    identity = drive.put("model.bin", data)
    assert fetch(link(identity), tmp_path / "model.bin").read_bytes() == data
    assert drive.confirmed > 1
    assert drive.storage.sent < 1.1 * len(data)


def test_a_large_file_goes_on_after_a_broken_connection(drive, tmp_path, blob):
    """Drive gives a date and no tag; that is enough to go on where it stopped."""
    data = blob(5 * MIB)
    identity = drive.put("model.bin", data)
    drive.files[identity].faults = [Fault(kind="reset", at=3 * MIB)]
    assert fetch(link(identity), tmp_path / "model.bin").read_bytes() == data
    assert drive.storage.sent < 1.2 * len(data)


def test_a_public_file_is_asked_for_over_few_connections(drive, tmp_path, blob):
    """Four at most: the quota is shared by all who have the link. The user may still say another number."""
    identity = drive.put("model.bin", blob(20 * MIB))
    drive.files[identity].rate = 10 * MIB
    most = []
    fetch(link(identity), tmp_path / "a.bin", progress=lambda *_: most.append(drive.files[identity].serving))
    assert max(most) <= 4


def test_a_zip_is_unpacked_only_when_asked_as_the_link_has_no_name(drive, tmp_path):
    """The name is known to Drive alone, so unpack=True says that it is an archive."""
    from colabkit.testing.kaggle import packed

    identity = drive.put("images.zip", packed({"7.txt": b"seven"}))
    assert fetch(link(identity), f"{tmp_path}/").name == "images.zip"
    assert (fetch(link(identity), f"{tmp_path}/", unpack=True) / "7.txt").read_bytes() == b"seven"


def test_old_links_need_their_key(drive, tmp_path):
    """A resourcekey in the link opens what the id alone does not."""
    identity = drive.put("old.csv", b"1", resource_key="0-abc")
    with pytest.raises(AccessError):
        fetch(link(identity), tmp_path / "a.csv")
    assert fetch(f"{link(identity)}&resourcekey=0-abc", tmp_path / "a.csv").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("kind", "mime", "ending"),
    [
        ("document", "application/vnd.google-apps.document", "docx"),
        ("spreadsheets", "application/vnd.google-apps.spreadsheet", "xlsx"),
        ("presentation", "application/vnd.google-apps.presentation", "pptx"),
    ],
)
def test_documents_are_exported(drive, tmp_path, kind, mime, ending):
    """A document comes in its office format, or the one that an export link names; a plain link works too."""
    identity = drive.put("plan", b"text", mime=mime)
    page = f"https://docs.google.com/{kind}/d/{identity}"
    assert fetch(f"{page}/edit", f"{tmp_path}/").name == f"plan.{ending}"
    assert fetch(f"{page}/export?format=pdf", tmp_path / "a.pdf").read_bytes() == b"text as pdf"
    opened = fetch(f"https://drive.google.com/open?id={identity}", tmp_path / "b")
    assert opened.read_bytes() == f"text as {ending}".encode()


@pytest.mark.parametrize(
    "said",
    [
        "Sorry, this file is infected with a virus. Only the owner is allowed to download infected files.",
        "You can't access this item because it is in violation of our Terms of Service.",
    ],
)
def test_a_flagged_file_is_not_told_as_one_that_is_not_shared(drive, tmp_path, said):
    """Drive's own words, and who may still have it: sharing it anew would not help."""
    identity = drive.put("flagged.bin", b"x", refusal=said)
    with pytest.raises(AccessError, match=r"has flagged(.|\n)*only its owner") as caught:
        fetch(link(identity), tmp_path / "a.bin")
    assert caught.value.why.endswith(said)
    assert "Anyone with the link" not in str(caught.value)


def test_gdown_is_the_second_opinion_on_a_page_that_ours_cannot_read(drive, tmp_path, caplog):
    """Where Drive's page is of another make, its reader may know it; that is said."""
    caplog.set_level("INFO", logger="colabkit")
    identity = drive.put("model.bin", b"w" * 1000, old_page=True)
    assert fetch(link(identity), tmp_path / "a.bin").read_bytes() == b"w" * 1000
    assert "gdown's does" in caplog.text


def test_a_slash_in_a_name_is_a_letter(drive, signed_in, tmp_path):
    """It cuts nothing off, and makes no folder."""
    identity = drive.put("AC/DC.csv", b"7", public=False)
    assert fetch(link(identity), f"{tmp_path}/").name == "AC_DC.csv"


def test_a_quota_page_with_status_200_is_a_busy_error(drive, tmp_path):
    """Drive's own words, and what to do; nothing is left behind."""
    identity = drive.put("popular.bin", b"x", quota=True)
    with pytest.raises(BusyError, match=r"Quota exceeded(.|\n)*make a copy") as caught:
        fetch(link(identity), tmp_path / "a.bin")
    assert caught.value.exit_code == 27
    assert list(tmp_path.iterdir()) == []


def test_a_quota_page_that_comes_late_is_never_the_file(drive, tmp_path, blob):
    """The limit is reached between the question and the download: the page is an error, too."""
    identity = drive.put("popular.bin", blob(MIB))
    page = b"<!doctype html><title>Google Drive - Quota exceeded</title>"
    drive.files[identity].faults = [Fault(kind="page", body=page, after=1, times=9)]
    with pytest.raises(ColabKitError, match="Quota exceeded"):
        fetch(link(identity), tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_private_file_without_an_account_says_how_to_get_in(drive, tmp_path):
    """The sign-in page is an AccessError with both ways out; an unknown id is told apart."""
    identity = drive.put("mine.csv", b"1", public=False)
    with pytest.raises(AccessError, match=r"not public(.|\n)*Anyone with the link(.|\n)*authenticate_user"):
        fetch(link(identity), tmp_path / "a.csv")
    with pytest.raises(NotFoundError, match="nothing at"):
        fetch(link(ID), tmp_path / "a.csv")


def test_a_private_file_comes_through_the_account_and_is_verified(drive, signed_in, tmp_path, blob):
    """Drive's interface gives the bytes and the md5 that they must have; the token goes nowhere else."""
    data = blob(3 * MIB)
    identity = drive.put("mine.bin", data, public=False)
    done = fetch_details(link(identity), f"{tmp_path}/")
    assert (done.path.name, done.path.read_bytes() == data) == ("mine.bin", True)
    assert done.checksum.startswith("md5:")
    for site in (drive.front, drive.storage, drive.documents):
        assert all("authorization" not in seen.headers for seen in site.seen)
    drive.files[identity].faults = [Fault(kind="flip", at=MIB)]
    with pytest.raises(ColabKitError, match="not the expected one"):
        fetch(link(identity), tmp_path / "again.bin", overwrite=True)


def test_the_account_helps_where_the_public_quota_is_used_up(drive, signed_in, tmp_path):
    """Quota exceeded for the public: the account fetches it; if its own is used up, too, Drive's words are told."""
    identity = drive.put("popular.bin", b"x", quota=True)
    assert fetch(link(identity), tmp_path / "a.bin").read_bytes() == b"x"
    drive.items[identity].account_quota = True
    with pytest.raises(BusyError, match="download quota"):
        fetch(link(identity), tmp_path / "b.bin", overwrite=True)


@pytest.mark.parametrize("answer", ["y", "n", None])
def test_a_copy_of_ones_own_helps_where_both_quotas_are_used_up(drive, signed_in, tmp_path, monkeypatch, answer):
    """After a question: copied, fetched, the copy deleted for good. Without a yes, or anybody to ask, nothing is."""
    asked = []
    monkeypatch.setattr("colabkit.runtime.restart.can_ask", lambda: answer is not None)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or answer)
    identity = drive.put("popular.bin", b"x" * 3000, quota=True, account_quota=True)
    before = set(drive.items)
    if answer == "y":
        assert fetch(link(identity), tmp_path / "a.bin", progress=False).read_bytes() == b"x" * 3000
        assert any(seen.path.partition("?")[0].endswith("/copy") for seen in drive.interface.seen)
    else:
        with pytest.raises(BusyError, match="download quota"):
            fetch(link(identity), tmp_path / "a.bin", progress=False)
        assert not (tmp_path / "a.bin").exists()
    assert set(drive.items) == before
    assert len(asked) == (answer is not None)


def test_a_private_document_is_exported_through_the_account(drive, signed_in, tmp_path):
    """A document of one's own comes in its office format."""
    identity = drive.put("plan", b"text", public=False, mime="application/vnd.google-apps.spreadsheet")
    path = fetch(f"https://docs.google.com/spreadsheets/d/{identity}/edit", f"{tmp_path}/")
    assert path.name == "plan.xlsx"
    assert b"spreadsheetml" in path.read_bytes()


def filled(drive, count: int, **options) -> str:
    """Make a folder with files, folders inside it and a document."""
    top = drive.folder("photos", **options)
    side = drive.folder("side", parent=top, **options)
    for number in range(count):
        drive.put(f"{number}.bin", bytes([number]) * 10, parent=top, **options)
        drive.put(f"{number}.bin", bytes([number]) * 20, parent=side, id=drive.ids(f"side{number}"), **options)
    drive.put("plan", b"text", parent=side, mime="application/vnd.google-apps.document", **options)
    drive.put("survey", b"", parent=side, mime="application/vnd.google-apps.form", **options)
    return top


def sizes(folder):
    """List what lies below a folder."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("public", [True, False])
def test_a_folder_of_more_than_fifty_files_comes_whole(drive, signed_in, tmp_path, public):
    """120 files in two folders, a document among them: by the public page, or through the account, page by page."""
    top = filled(drive, 60, public=public)
    path = fetch(folder_link(top), f"{tmp_path}/")
    found = sizes(path)
    assert path.name == "photos"
    assert len(found) == 121
    assert (found["7.bin"], found["side/7.bin"]) == (10, 20)
    assert "side/plan.docx" in found
    assert [place.name for place in tmp_path.iterdir()] == ["photos"]


def test_a_folder_goes_on_where_it_failed(drive, tmp_path):
    """One file is over its quota: the others are kept, and only that one is fetched the next time."""
    top = filled(drive, 5)
    drive.items[drive.ids("side3")].quota = True
    with pytest.raises(BusyError) as caught:
        fetch(folder_link(top), tmp_path / "out")
    assert caught.value.__notes__ == ["10 of 11 files are kept; run it again for the rest"]
    assert not (tmp_path / "out").exists()
    drive.items[drive.ids("side3")].quota = False
    drive.storage.seen.clear()
    assert len(sizes(fetch(folder_link(top), tmp_path / "out"))) == 11
    assert {drive.ids("side3") in seen.path for seen in drive.storage.seen} == {True}


def test_two_files_of_one_name_are_both_kept(drive, tmp_path):
    """Drive allows it; the second gets a number."""
    top = drive.folder("twins")
    drive.put("a.csv", b"1", parent=top)
    drive.put("a.csv", b"22", parent=top, id=drive.ids("other"))
    assert sorted(sizes(fetch(folder_link(top), tmp_path / "out")).values()) == [1, 2]


def test_shortcuts_lead_on_and_never_in_a_circle(drive, signed_in, tmp_path):
    """A shortcut to a file is the file; one to the folder itself is passed over."""
    top = drive.folder("top", public=False)
    elsewhere = drive.put("far.csv", b"far", public=False)
    drive.put("near", parent=top, target=elsewhere, public=False)
    drive.put("loop", parent=top, target=top, public=False)
    assert sizes(fetch(folder_link(top), tmp_path / "out")) == {"far.csv": 3}


def keyed(drive):
    """Make a folder and a file that need keys of their own, and a shortcut, with a third key, to each."""
    data = drive.folder("data", public=False, resource_key="0-folder")
    identity = drive.put("digits.csv", b"7,0", parent=data, public=False, resource_key="0-file")
    drive.folder("to the data", target=data, public=False, resource_key="0-short")
    return identity, drive.put("to the file", target=identity, public=False, resource_key="0-shorter")


def test_a_shortcut_opens_with_the_key_of_what_it_leads_to(drive, signed_in, tmp_path):
    """The link has the shortcut's key, which opens the shortcut only: Drive tells the one for the file."""
    _, shortcut = keyed(drive)
    assert fetch(f"{link(shortcut)}&resourcekey=0-shorter", f"{tmp_path}/").read_bytes() == b"7,0"
    top = drive.ids("to the data")
    assert sizes(fetch(f"{folder_link(top)}&resourcekey=0-short", tmp_path / "out")) == {"digits.csv": 3}


@pytest.mark.parametrize("path", ["data/digits.csv", "to the data/digits.csv", "to the file"])
def test_a_path_on_ones_own_drive_brings_the_keys(drive, signed_in, tmp_path, path):
    """A file with a key in a folder with another one, by shortcuts or not: each is asked for with its own."""
    keyed(drive)
    assert fetch(f"drive:{path}", tmp_path / "a.csv").read_bytes() == b"7,0"


@pytest.mark.parametrize("path", ["data/", "to the data/"])
def test_a_folder_of_ones_own_drive_brings_the_keys(drive, signed_in, tmp_path, path):
    """As for a file."""
    keyed(drive)
    assert sizes(fetch(f"drive:{path}", tmp_path / "out")) == {"digits.csv": 3}


def test_a_key_comes_back_where_drive_keeps_it_to_itself(drive, signed_in, tmp_path, monkeypatch):
    """What the link had is good for the bytes as well, whatever Drive's answer repeats of it."""
    identity, _ = keyed(drive)
    told = drive.interface._about
    monkeypatch.setattr(
        drive.interface, "_about", lambda *of: {key: value for key, value in told(*of).items() if key != "resourceKey"}
    )
    assert fetch(f"{link(identity)}&resourcekey=0-file", tmp_path / "a.csv").read_bytes() == b"7,0"


def test_a_folder_of_a_shared_drive_comes_whole(drive, signed_in, tmp_path):
    """Drive hides it from programs that do not say that they know such drives, also behind a shortcut."""
    shared = {"shared_drive": "0AShared", "public": False}
    team = drive.folder("team", **shared)
    drive.put("a.csv", b"7,0", parent=team, **shared)
    drive.put("report", b"text", parent=team, mime="application/vnd.google-apps.document", **shared)
    drive.put("to the team", target=team, public=False)
    for address in (f"https://drive.google.com/drive/folders/{team}", "drive:to the team/"):
        came = fetch(address, tmp_path / str(len(address)))
        assert (came / "a.csv").read_bytes() == b"7,0"
        assert (
            came / "report.docx"
        ).read_bytes() == b"text as application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def test_a_folder_whose_link_says_file_is_told(drive, tmp_path):
    """The message holds the link to use instead."""
    top = drive.folder("photos")
    with pytest.raises(AddressError, match=rf"fetch https://drive\.google\.com/drive/folders/{top}"):
        fetch(f"https://drive.google.com/open?id={top}", tmp_path / "out")


def test_a_private_folder_without_an_account_says_how_to_get_in(drive, tmp_path):
    """As for a file."""
    top = drive.folder("photos", public=False)
    with pytest.raises(AccessError, match="authenticate_user"):
        fetch(folder_link(top), tmp_path / "out")


def test_the_accounts_limit_is_told(drive, signed_in, tmp_path):
    """Rate limits of the interface are BusyError, in its words."""
    identity = drive.put("mine.csv", b"1", public=False)
    drive.limited = 99
    with pytest.raises(BusyError, match="User Rate Limit Exceeded"):
        fetch(link(identity), tmp_path / "a.csv")


def test_no_token_is_in_a_file_or_a_log(drive, signed_in, tmp_path, isolated, caplog):
    """What opened the file is in nothing that is kept or shown."""
    caplog.set_level("DEBUG")
    identity = drive.put("mine.csv", b"1", public=False)
    fetch(link(identity), tmp_path / "a.csv")
    kept = b"".join(path.read_bytes() for root in (tmp_path, isolated) for path in root.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept
    assert not any(TOKEN in record.getMessage() for record in caplog.records if record.name.startswith("colabkit"))


def test_a_path_on_ones_own_drive_comes_through_the_account(drive, signed_in, tmp_path):
    """drive:FOLDER/FILE off Colab: each name is looked up; with a slash at the end all that is inside comes."""
    data = drive.folder("data", public=False)
    drive.put("ada's digits.csv", b"7,0", parent=data, public=False)
    assert fetch("drive:data/ada's digits.csv", f"{tmp_path}/").read_bytes() == b"7,0"
    assert sizes(fetch("drive:data/", f"{tmp_path}/")) == {"ada's digits.csv": 3}
    with pytest.raises(NotFoundError, match="'missing'"):
        fetch("drive:data/missing")
    with pytest.raises(AddressError, match="slash at its end"):
        fetch("drive:data")


def test_a_path_on_drive_declines_in_words_where_nobody_is_signed_in(drive):
    """Off Colab and without an account the message names both ways."""
    with pytest.raises(UnsupportedError, match=r"share link(.|\n)*application-default login"):
        fetch("drive:data/digits.csv")


@pytest.mark.parametrize("text", ["drive:", "drive:/etc/passwd", "drive:../x", "drive:a/../../b"])
def test_a_path_that_leaves_ones_drive_is_refused(text):
    """Before any network or file is touched."""
    with pytest.raises(AddressError):
        open_source(text)


def test_on_a_mounted_drive_the_path_itself_is_returned(monkeypatch, tmp_path):
    """In Colab nothing is copied unless a place is named; without a mount the line that mounts is told."""
    from colabkit import runtime

    (tmp_path / "MyDrive").mkdir()
    (tmp_path / "MyDrive" / "a.csv").write_text("1")
    found = types.SimpleNamespace(host="colab", persistent_dir=tmp_path / "MyDrive")
    monkeypatch.setattr(runtime, "detect", lambda: found)
    assert fetch("drive:a.csv") == tmp_path / "MyDrive" / "a.csv"
    assert fetch("drive:a.csv", tmp_path / "copy.csv").read_text() == "1"
    found.persistent_dir = None
    with pytest.raises(UnsupportedError, match=r"drive\.mount"):
        fetch("drive:a.csv")
