"""What colabkit writes down beside and about transfers, and what services answer, against whatever may lie there."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colabkit._clients.gcs import read_object
from colabkit._clients.kaggle.auth import _pair
from colabkit._clients.kaggle.handle import parse
from colabkit._engine import cache
from colabkit._engine.uploads.journal import UploadJournal
from colabkit._engine.uploads.kaggle import _arrived, error_of
from colabkit.errors import AddressError, TransferError
from colabkit.transfer import fetch_folder
from colabkit.transfer.targets.kaggle_journal import SubmissionJournal
from colabkit.transfer.targets.kaggle_metadata import METADATA, read_metadata

DIGITS = parse("kaggle:ada/digits-data")
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
# Each example writes a file: the time it takes is the disk's.
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def objects(**fields):
    """Make objects that have some of the right fields, with the right kind of value or any other."""
    return st.fixed_dictionaries({}, optional={name: kind | values for name, kind in fields.items()}) | values


def contents(**fields):
    """Make files: such an object as JSON, a text that nests deep, or any bytes."""
    text = objects(**fields).map(lambda value: json.dumps(value).encode())
    return text | st.binary(max_size=60) | st.just(b"[" * 100_000)


paths = st.sampled_from(["/srv/a", "relative", "", "a\0b"])
numbers = st.integers(0, 10**18)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Keep what is written down in a folder of this test."""
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path))
    (tmp_path / "push").mkdir()
    (tmp_path / "fetch" / "receipts").mkdir(parents=True)
    return tmp_path


@shared
@given(
    data=contents(
        format=st.just(1),
        path=paths,
        source=st.text(max_size=9),
        size=numbers,
        modified=numbers,
        fetched=st.text(max_size=9),
        checksums=st.dictionaries(st.sampled_from(["md5", "sha256", "x"]), st.text(max_size=9)),
        inode=numbers,
    )
)
def test_a_receipt_is_right_or_nothing(place, data):
    """Whatever lies where a receipt should: nothing, or one whose file can be looked for without a surprise."""
    (place / "fetch" / "receipts").joinpath("x.json").write_bytes(data)
    for receipt in cache.listing():
        assert receipt.path.is_file()
    with open(cache.receipt_of("https://example.org/a", None), "wb") as file:
        file.write(data)
    found = cache.find("https://example.org/a", None)
    assert found is None or found.holds(None) in (True, False)


@shared
@given(data=contents(format=st.just(2), size=st.just(3), session=st.text(max_size=9), token=st.text(max_size=9)))
def test_the_note_of_an_upload_is_right_or_nothing(place, data):
    """A session is taken only from a note about the very same file; else there is none."""
    note = UploadJournal("/data/a.csv", {"size": 3}, "gs://bucket/a.csv")
    note.path.write_bytes(data)
    again = UploadJournal("/data/a.csv", {"size": 3}, "gs://bucket/a.csv")
    assert isinstance(again.session, str)
    if again.session or again.token:
        assert {"format": 2, "size": 3}.items() <= json.loads(data).items()


@shared
@given(data=contents(what=st.text(max_size=9), state=st.sampled_from(["made", "asked"]), version=numbers, at=numbers))
def test_a_note_about_another_push_says_nothing(place, data):
    """What was asked for before counts only if it was this very push."""
    SubmissionJournal(DIGITS, [], "message")._path.write_bytes(data)
    assert SubmissionJournal(DIGITS, [], "message").state == ""


def test_what_was_asked_for_is_known_again_by_its_message(place):
    """The note of a push speaks for that push, and for no other message."""
    SubmissionJournal(DIGITS, [], "message").note("asked", 3)
    again = SubmissionJournal(DIGITS, [], "message")
    assert (again.state, again.version, SubmissionJournal(DIGITS, [], "other").state) == ("asked", 3, "")


@shared
@given(data=contents(what=st.none(), state=st.sampled_from(["made", "asked", "x"]), version=numbers, at=values))
def test_a_damaged_note_about_this_push_says_nothing(place, data):
    """A version or a time that is none is not believed, and breaks nothing."""
    asked = SubmissionJournal(DIGITS, [], "message")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        value["what"] = asked._what
        asked._path.write_text(json.dumps(value))
    again = SubmissionJournal(DIGITS, [], "message")
    assert again.state in ("", "asked", "made")
    assert type(again.version) is int


@shared
@given(
    data=contents(format=st.just(fetch_folder._FORMAT), identity=st.just("x")),
    files=st.lists(
        st.tuples(st.sampled_from(["a", "../a", "b/c", ".part-"]), st.lists(numbers | st.text(max_size=3), max_size=4)),
        max_size=5,
    ),
    cut=st.integers(0, 9),
)
def test_the_list_of_a_folder_is_right_or_nothing(place, data, files, cut):
    """Whatever lies beside a folder that is being fetched: names that stay below it, or nothing."""
    lines = [data.replace(b"\n", b" "), *(json.dumps([name, *known]).encode() for name, known in files)]
    text = b"\n".join(lines)
    (place / "list.jsonl").write_bytes(text[: len(text) - cut])
    for name, (version, size, modified) in fetch_folder._read(place / "list.jsonl", "x").items():
        assert ".." not in name.split("/")
        assert (type(version), type(size), type(modified)) == (str, int, int)


@given(
    contents(username=st.text(max_size=9), key=st.text(max_size=9)).map(lambda data: data.decode("utf-8", "replace"))
)
def test_a_kaggle_key_is_a_pair_or_nothing(text):
    """A kaggle.json gives two texts that are not empty, or nothing."""
    pair = _pair(text)
    assert pair is None or (len(pair) == 2 and all(isinstance(one, str) and one for one in pair))


@shared
@given(
    data=contents(
        id=st.just("ada/digits-data"),
        title=st.text(max_size=60),
        subtitle=st.text(max_size=90),
        description=st.text(max_size=9),
        keywords=st.lists(st.text(max_size=9)),
        licenses=st.lists(st.fixed_dictionaries({"name": st.text(max_size=9)}), max_size=2),
    )
)
def test_metadata_is_read_or_refused(place, data):
    """A dataset-metadata.json gives fields of the right kinds, or an AddressError."""
    (place / METADATA).write_bytes(data)
    try:
        made = read_metadata(place, DIGITS)
    except AddressError:
        return
    assert 6 <= len(made["title"]) <= 50
    assert all(isinstance(word, str) for word in made.get("categoryIds", []))
    assert isinstance(made.get("licenseName", ""), str)


@given(contents(md5Hash=st.text(max_size=30)), objects(error=st.text(max_size=9), code=numbers, message=st.text()))
def test_an_answer_of_kaggles_is_read_whatever_it_holds(content, value):
    """A checksum is digits or nothing; an error is one line or nothing."""
    arrived = _arrived(SimpleNamespace(headers={}, content=content))
    assert set(arrived) <= set("0123456789abcdef")
    if isinstance(value, dict):
        said = error_of(value)
        assert "\n" not in said
        assert len(said) <= 300


@given(
    objects(
        name=st.text(max_size=9),
        size=numbers.map(str),
        generation=numbers.map(str),
        crc32c=st.text(max_size=9),
        md5Hash=st.text(max_size=30),
        updated=st.text(max_size=9),
    )
)
def test_an_object_of_cloud_storage_is_read_or_refused(value):
    """What describes an object gives one with a size and a generation, or a TransferError."""
    try:
        found = read_object(value, "bucket")
    except TransferError:
        return
    assert found.size >= 0
    assert found.generation.isdecimal()
