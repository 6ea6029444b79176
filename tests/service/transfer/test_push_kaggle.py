"""push to Kaggle: versions and submissions made once, of files that arrived whole, and on again in another process."""

import io
import json
import os
import stat
import time
import zipfile
from pathlib import Path

import pytest

from colabkit._http import json_api, service
from colabkit._internal.retry import Backoff
from colabkit.errors import (
    AccessError,
    AddressError,
    BusyError,
    ColabKitError,
    IntegrityError,
    NotFoundError,
    TransferError,
)
from colabkit.testing.http import Fault
from colabkit.testing.kaggle import TOKEN, FakeKaggle
from colabkit.transfer import fetch, push, push_details

MIB = 1 << 20
SIZE = 3 * MIB + 321
DIGITS = "kaggle:ada/digits-data"
TITANIC = "kaggle:competitions/titanic"


@pytest.fixture
def folder(tmp_path):
    """Make a folder with a file in a folder."""
    made = tmp_path / "digits"
    (made / "in" / "deep").mkdir(parents=True)
    (made / "train.csv").write_bytes(b"7,0,0")
    (made / "in" / "deep" / "test.csv").write_bytes(b"1")
    return made


def notes() -> list[Path]:
    """List the sessions that are kept for another process."""
    return [path for path in Path.home().rglob("push/*.json") if "session" in json.loads(path.read_text())]


def made(kaggle: FakeKaggle, name: str = "digits-data"):
    """Return a dataset at Kaggle."""
    return kaggle.bundles[f"datasets/ada/{name}"]


def test_a_dataset_is_made_and_then_gets_versions(kaggle, folder, tmp_path):
    """The first push makes a private dataset with the folder's files, the next one a version with its notes."""
    assert push(folder, DIGITS, progress=False) == DIGITS
    assert made(kaggle).files == {"train.csv": b"7,0,0", "in/deep/test.csv": b"1"}
    assert (made(kaggle).private, made(kaggle).about["title"]) == (True, "digits-data")
    (folder / "train.csv").write_bytes(b"8,0,0")
    assert push_details(folder, DIGITS, message="eights", progress=False).sent == 2
    assert (made(kaggle).version, made(kaggle).notes) == (2, "eights")
    assert (fetch(f"{DIGITS}/2/train.csv", tmp_path / "back.csv")).read_bytes() == b"8,0,0"
    assert notes() == []


def test_the_same_again_makes_no_second_version(kaggle, folder):
    """Nothing is sent and nothing made; overwrite=True makes one, and so does a change at Kaggle meanwhile."""
    push(folder, DIGITS, progress=False)
    before = kaggle.storage.uploads.received
    assert push_details(folder, DIGITS, progress=False).sent == 0
    assert (made(kaggle).version, kaggle.storage.uploads.received) == (1, before)
    push(folder, DIGITS, overwrite=True, progress=False)
    assert made(kaggle).version == 2
    made(kaggle).version = 7
    push(folder, DIGITS, progress=False)
    assert made(kaggle).version == 8


@pytest.mark.parametrize("hides", [False, True])
def test_what_is_hidden_may_be_absent(kaggle, folder, hides):
    """Kaggle may refuse to tell about a dataset that is not there: it is made all the same."""
    kaggle.hides = hides
    push(folder, DIGITS, progress=False)
    assert made(kaggle).version == 1


def test_a_dataset_that_turns_out_to_be_there_gets_a_version(kaggle, folder, monkeypatch):
    """If it cannot be looked at, and making it says that the name is taken, a version of it is made."""
    kaggle.put("datasets/ada/digits-data", {"a": b"1"}, version=4)
    interface, asked = kaggle.sites["api.kaggle.com"], kaggle.sites["api.kaggle.com"].answer

    def answer(request):
        if request.path.endswith("/GetDataset"):
            return type(asked(request))(status=403, body=b"{}")
        return asked(request)

    monkeypatch.setattr(interface, "answer", answer)
    push(folder, DIGITS, progress=False)
    assert made(kaggle).version == 5


def test_metadata_is_read_as_kaggles_program_reads_it(kaggle, folder):
    """Title, subtitle, license and keywords of dataset-metadata.json go along; the file itself does not."""
    value = {
        "id": "ada/digits-data",
        "title": "Digits of ten",
        "subtitle": "Handwritten digits, ten of them",
        "licenses": [{"name": "CC0-1.0"}],
        "keywords": ["image"],
    }
    (folder / "dataset-metadata.json").write_text(json.dumps(value))
    push(folder, DIGITS, progress=False)
    about = made(kaggle).about
    assert (about["title"], about["licenseName"], about["categoryIds"]) == ("Digits of ten", "CC0-1.0", ["image"])
    assert "dataset-metadata.json" not in made(kaggle).files


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "as JSON"),
        ("[]", "no object"),
        ('{"id": "bob/digits"}', "not ada/digits-data"),
        ('{"title": "x"}', "title is not a text of 6 to 50"),
        ('{"subtitle": 7}', "subtitle is not a text"),
        ('{"licenses": []}', "exactly one"),
        ('{"licenses": [{"name": 1}]}', "license cannot be read"),
        ('{"keywords": "image"}', "keywords cannot be read"),
    ],
)
def test_metadata_that_is_wrong_is_refused_before_anything_is_sent(kaggle, folder, text, why):
    """The file is named, with what is wrong in it."""
    (folder / "dataset-metadata.json").write_text(text)
    with pytest.raises(AddressError, match=why):
        push(folder, DIGITS, progress=False)
    assert kaggle.storage.uploads.received == 0


def test_many_files_travel_as_one_archive(kaggle, tmp_path):
    """Kaggle takes 50 files one by one; 60 come as a zip that it unpacks, and are told as 60."""
    (tmp_path / "many" / "in").mkdir(parents=True)
    for number in range(60):
        (tmp_path / "many" / "in" / f"{number}.txt").write_text(f"{number}")
    done = push_details(tmp_path / "many", DIGITS, progress=False)
    assert (done.files, done.sent) == (60, 60)
    assert made(kaggle).files["in/59.txt"] == b"59"
    assert len(made(kaggle).files) == 60
    assert push_details(tmp_path / "many", DIGITS, progress=False).sent == 0


def test_bytes_and_streams_need_a_name(kaggle):
    """Both are pushed under the name behind the dataset; without one there is an AddressError."""
    push(b"7,0,0", f"{DIGITS}/in/a.csv", progress=False)
    assert made(kaggle).files == {"in/a.csv": b"7,0,0"}
    reader, writer = os.pipe()
    os.write(writer, b"streamed")
    os.close(writer)
    with open(reader, "rb") as stream:
        push(stream, f"{DIGITS}/b.csv", progress=False)
    assert made(kaggle).files == {"b.csv": b"streamed"}
    for source in (b"7", io.BytesIO(b"7")):
        with pytest.raises(AddressError, match="bytes have no name"):
            push(source, DIGITS)


def test_a_submission_is_made_with_its_message(kaggle, tmp_path):
    """One file, under its own name or the one given, with what is said about it."""
    kaggle.put("competitions/titanic", {"train.csv": b"1"})
    (tmp_path / "submission.csv").write_bytes(b"id,label\n1,7")
    assert push(tmp_path / "submission.csv", TITANIC, message="baseline", progress=False) == TITANIC
    push(b"id", f"{TITANIC}/mine.csv", progress=False)
    assert [(one.name, one.message, one.data) for one in kaggle.submissions] == [
        ("submission.csv", "baseline", b"id,label\n1,7"),
        ("mine.csv", "", b"id"),
    ]


def test_the_same_submission_is_made_once(kaggle, tmp_path):
    """Kaggle counts submissions by the day: the same file with the same message is not sent again unless told."""
    kaggle.put("competitions/titanic", {"train.csv": b"1"})
    (tmp_path / "s.csv").write_bytes(b"1")
    for options in ({}, {}, {"message": "other"}, {"message": "other"}, {"message": "other", "overwrite": True}):
        push(tmp_path / "s.csv", TITANIC, progress=False, **options)
    assert [one.message for one in kaggle.submissions] == ["", "other", "other"]


def test_the_score_is_waited_for(kaggle, tmp_path, monkeypatch, caplog):
    """It is said and returned, not submitted again by the same line; what cannot be scored is an error."""
    from colabkit.transfer.targets import kaggle as target

    monkeypatch.setattr(target, "_PAUSE", 0.01)
    caplog.set_level("INFO", logger="colabkit")
    kaggle.put("competitions/titanic", {"train.csv": b"1"})
    (tmp_path / "s.csv").write_bytes(b"1")
    kaggle.scores = [("PENDING", ""), ("COMPLETE", "0.77511")]
    done = push_details(tmp_path / "s.csv", TITANIC, message="m", wait=True, progress=False)
    assert (done.score, len(kaggle.submissions)) == ("0.77511", 1)
    assert "the public score is 0.77511" in caplog.text
    assert push_details(tmp_path / "s.csv", TITANIC, message="m", wait=True, progress=False).score == "0.77511"
    assert len(kaggle.submissions) == 1
    kaggle.scores = [("ERROR", "")]
    with pytest.raises(TransferError, match=r"cannot score s\.csv"):
        push(tmp_path / "s.csv", TITANIC, message="other", wait=True, progress=False)
    with pytest.raises(AddressError, match="only a submission is scored"):
        push(tmp_path / "s.csv", DIGITS, wait=True, progress=False)


def test_an_answer_that_is_lost_makes_nothing_twice(kaggle, folder, tmp_path):
    """It is an error, as nobody knows; the same line looks first, and finds that it was made."""
    kaggle.put("competitions/titanic", {"train.csv": b"1"})
    for source, target in ((folder, DIGITS), (folder / "train.csv", TITANIC)):
        kaggle.lost = 1
        with pytest.raises(TransferError):
            push(source, target, message="m", progress=False)
        assert push_details(source, target, message="m", progress=False).sent == 0
    assert made(kaggle).version == 1
    assert len(kaggle.submissions) == 1


def test_a_call_that_never_arrived_is_made_again_without_sending_again(kaggle, folder, monkeypatch):
    """The interface is busy when the version is to be made: a BusyError; the same line makes it, of what is there."""
    monkeypatch.setattr(json_api, "Backoff", lambda **options: Backoff(first=0.01, **options))
    asked = kaggle.sites["api.kaggle.com"].answer

    def answer(request):
        kaggle.busy = request.path.endswith("/CreateDataset")
        return asked(request)

    with monkeypatch.context() as patch:
        patch.setattr(kaggle.sites["api.kaggle.com"], "answer", answer)
        with pytest.raises(BusyError):
            push(folder, DIGITS, progress=False)
    before = kaggle.storage.uploads.received
    kaggle.busy = 0
    assert push_details(folder, DIGITS, progress=False).sent == 2
    assert (made(kaggle).version, kaggle.storage.uploads.received) == (1, before)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="reset", at=2 * MIB),
        Fault(kind="reset", at=SIZE - 1),
        Fault(kind="reset", at=MIB, times=2),
        Fault(kind="status", status=503, times=2),
    ],
)
def test_a_passing_fault_is_survived(kaggle, tmp_path, blob, fault):
    """The rest goes on its way where the storage says; the file arrives whole."""
    kaggle.storage.uploads.faults = [fault]
    push(blob(SIZE), f"{DIGITS}/a.bin", progress=False)
    assert made(kaggle).files["a.bin"] == blob(SIZE)
    assert kaggle.storage.uploads.received <= 1.6 * SIZE


def test_a_byte_that_changes_on_the_way_is_caught(kaggle, blob):
    """The storage's checksum differs: an IntegrityError, no version of it, and the next push begins anew."""
    kaggle.storage.uploads.faults = [Fault(kind="flip", at=MIB)]
    with pytest.raises(IntegrityError):
        push(blob(SIZE), f"{DIGITS}/a.bin", progress=False)
    assert kaggle.bundles == {}
    push(blob(SIZE), f"{DIGITS}/a.bin", progress=False)
    assert made(kaggle).files["a.bin"] == blob(SIZE)


def test_an_upload_that_the_storage_forgot_is_begun_anew(kaggle, blob, monkeypatch):
    """What was noted leads nowhere any more: the whole file is sent."""
    monkeypatch.setattr(service, "Backoff", lambda **_: Backoff(tries=0))
    kaggle.storage.uploads.faults = [Fault(kind="reset", at=MIB)]
    with pytest.raises(TransferError):
        push(blob(SIZE), f"{DIGITS}/a.bin", progress=False)
    assert len(notes()) == 1
    kaggle.storage.uploads.blobs.clear()
    push(blob(SIZE), f"{DIGITS}/a.bin", progress=False)
    assert made(kaggle).files["a.bin"] == blob(SIZE)


@pytest.mark.parametrize("many", [False, True])
def test_a_killed_push_goes_on_in_another_process(kaggle, tmp_path, blob, command, many):
    """After SIGKILL in the middle little is sent twice, for a file and for a packed folder; the note is private."""
    place = tmp_path / "data"
    place.mkdir()
    (place / "big.bin").write_bytes(blob(12 * MIB))
    for number in range(60 if many else 0):
        (place / f"{number}.txt").write_text(f"{number}")
    uploads = kaggle.storage.uploads
    uploads.rate = 8 * MIB
    process = command(str(place), DIGITS, verb="push")
    end = time.monotonic() + 60
    while uploads.received < 5 * MIB and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    (note,) = notes()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    uploads.rate = 0
    again = command(str(place), DIGITS, "--message", "whole", "--json", verb="push")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert json.loads(out)["files"] == (61 if many else 1)
    assert made(kaggle).files["big.bin"] == blob(12 * MIB)
    assert uploads.received < 1.15 * 12 * MIB
    assert notes() == []


def test_credentials_go_to_kaggle_alone(kaggle, folder, isolated, caplog):
    """The storage sees no token of Kaggle's, and what is left on this side has neither that nor an address."""
    caplog.set_level("DEBUG")
    push(folder, DIGITS, progress=False)
    puts = [seen for seen in kaggle.storage.seen if seen.method == "PUT"]
    assert len(puts) == 2
    assert all("authorization" not in seen.headers for seen in puts)
    kept = b"".join(path.read_bytes() for path in isolated.rglob("*") if path.is_file())
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("colabkit"))
    for secret in (TOKEN, "upload_id"):
        assert secret.encode() not in kept
        assert secret not in ours


@pytest.mark.parametrize(
    ("source", "target", "error", "why"),
    [
        ("folder", "kaggle:ada/digits-data/3", AddressError, "without a version"),
        ("folder", "kaggle:models/g/gemma/keras/2b/1", AddressError, "the next version of a dataset"),
        ("folder", "kaggle:code/ada/notebook", AddressError, "the next version of a dataset"),
        ("folder", "kaggle:ada", AddressError, "cannot read"),
        ("folder", "https://www.kaggle.com/", AddressError, "no dataset"),
        ("folder", "kaggle:competitions/titanic", AddressError, "one file"),
        ("folder", "kaggle:ada/digits-data/in", AddressError, "push a folder"),
        ("folder", "kaggle:ada/tiny", AddressError, "6 to 50"),
        ("empty", "kaggle:ada/digits-data", NotFoundError, "no files"),
        ("absent", "kaggle:ada/digits-data", NotFoundError, "no file at"),
        ("folder", "kaggle:bob/digits-data", AccessError, "belongs to another account"),
        ("file", "kaggle:competitions/unknown", NotFoundError, "no kaggle:competitions/unknown"),
        ("file", "kaggle:competitions/rules", AccessError, "accept them"),
    ],
)
def test_what_cannot_be_pushed_is_refused_in_words(kaggle, folder, tmp_path, source, target, error, why):
    """Each refusal is typed and says why; nothing is made."""
    kaggle.put("competitions/titanic", {"a": b"1"})
    kaggle.put("competitions/rules", {"a": b"1"}, consent="You must accept this competition's rules")
    (tmp_path / "empty").mkdir()
    paths = {"folder": folder, "empty": tmp_path / "empty", "absent": tmp_path / "no", "file": folder / "train.csv"}
    with pytest.raises(error, match=why):
        push(paths[source], target, progress=False)
    assert not [name for name in kaggle.bundles if name.startswith("datasets/")]
    assert kaggle.submissions == []


def test_a_message_for_another_place_is_refused(tmp_path):
    """No place but Kaggle keeps one, and dropping it silently would be a lie."""
    with pytest.raises(AddressError, match="message="):
        push(b"1", tmp_path / "a", message="notes")
    assert not (tmp_path / "a").exists()


def test_without_credentials_it_is_told_how_to_get_them(kaggle, folder, monkeypatch):
    """Nobody is signed in: the places are named, and nothing is sent."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(AccessError, match=r"kaggle\.com/settings"):
        push(folder, DIGITS, progress=False)
    assert kaggle.storage.uploads.received == 0


def test_a_refusal_in_an_answer_of_200_is_an_error(kaggle, folder, monkeypatch):
    """Kaggle's interface says some errors with status 200; its words are kept."""
    monkeypatch.setattr(kaggle.storage.uploads, "files", lambda _: "The file is infected")
    kaggle.put("datasets/ada/digits-data", {"a": b"1"})
    with pytest.raises(ColabKitError, match="infected"):
        push(folder, DIGITS, progress=False)
    assert made(kaggle).version == 1


def test_a_dataset_that_is_refused_for_another_reason_tells_it(kaggle, folder, monkeypatch):
    """Making it fails, and there is nothing to make a version of: the first answer's words are the reason."""
    monkeypatch.setattr(kaggle.storage.uploads, "files", lambda _: "The title is used by another dataset of yours")
    with pytest.raises(TransferError, match="used by another"):
        push(folder, DIGITS, progress=False)
    assert kaggle.bundles == {}


def test_the_archive_of_many_files_is_the_same_in_each_process(kaggle, tmp_path):
    """What is packed twice is the same, byte for byte, so another process can go on with it."""
    (tmp_path / "many").mkdir()
    for number in range(51):
        (tmp_path / "many" / f"{number}.txt").write_text(f"{number}")
    for _ in range(2):
        push(tmp_path / "many", DIGITS, overwrite=True, progress=False)
    first, second = (bytes(one.data) for one in kaggle.storage.uploads.blobs.values())
    assert first == second
    assert zipfile.ZipFile(io.BytesIO(first)).testzip() is None
