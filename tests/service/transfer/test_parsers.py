"""The readers of headers, names, addresses and sidecars against whatever a hostile server can send."""

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit._engine.partial_file import journal
from colabkit._engine.range_queue import _without
from colabkit._http import error_page, url
from colabkit._http import headers as _headers
from colabkit._internal.disk import checksum
from colabkit.errors import ColabKitError

sizes = st.integers(0, 10**15)
letters = st.text(max_size=300)
pairs = st.lists(st.lists(st.integers(-5, 50), min_size=2, max_size=2), max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=15,
)


@given(sizes, sizes, sizes)
def test_a_content_range_is_read_back_as_it_was_written(start, length, rest):
    """Every legal range is understood exactly."""
    stop, total = start + length + 1, start + length + 1 + rest
    read = _headers.content_range(f"bytes {start}-{stop - 1}/{total}")
    assert read == _headers.ContentRange(start=start, stop=stop, total=total)


@given(letters | st.from_regex(r"\Abytes [0-9*]+-[0-9]+/[0-9*]+\Z"))
def test_a_content_range_is_consistent_or_nothing(text):
    """Whatever is sent: nothing, or 0 <= start < stop <= total."""
    read = _headers.content_range(text)
    assert read is None or 0 <= read.start < read.stop <= (read.total if read.total is not None else read.stop)


@given(
    st.dictionaries(
        st.sampled_from(["ETag", "Last-Modified", "Date", "Retry-After", "Repr-Digest", "x-goog-hash"]), letters
    )
)
def test_no_header_breaks_a_reader(headers):
    """Garbage is nothing; a wait is never negative, a tag never weak."""
    found = _headers.validator(headers)
    assert not found.etag.startswith("W/")
    assert (_headers.retry_after(headers) or 0) >= 0
    checksum.promised(headers, is_complete=True)
    _headers.content_length(headers.get("ETag"))


def is_plain_name(name: str) -> bool:
    """Say whether a name is harmless, by rules of its own."""
    return (
        not set(name) & set('/\\\0:*?"<>|')
        and name not in (".", "..")
        and not name.startswith((".", " "))
        and len(name.encode()) <= 200
        and not any(unicodedata.category(letter) == "Cc" for letter in name)
    )


@given(letters)
def test_a_name_is_always_a_plain_file_name(text):
    """No name from outside leaves its folder, hides, breaks a terminal or is too long for a file system."""
    for name in (
        _headers.safe_name(text),
        _headers.disposition_name(f'attachment; filename="{text}"'),
        _headers.disposition_name(f"attachment; filename*=UTF-8''{text}"),
        _headers.disposition_name(text),
    ):
        assert is_plain_name(name)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=30))
def test_a_quoted_name_comes_through(name):
    """An ordinary name, in any script, is kept letter by letter."""
    assert _headers.disposition_name(f'attachment; filename="{name}.csv"') == f"{name}.csv"
    assert _headers.url_name(f"https://example.org/x/{name}.csv?y#z") == f"{name}.csv"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("filename=c.csv", "c.csv"),
        ("attachment; filename='e f.csv'; size=3", "e f.csv"),
        ('attachment; filename="l.csv', "l.csv"),
        ("attachment; filename*=''o.csv", "o.csv"),
        ("attachment; filename=it's.csv", "it's.csv"),
        ('attachment; filename="a;b.csv"', "a;b.csv"),
        ("attachment; filename*0*=UTF-8''%e2%82; filename*1*=%ac.csv", "€.csv"),
    ],
)
def test_names_that_servers_write_carelessly_are_read_as_curl_does(written, name):
    """No type before it, single quotes, a quote that is never closed, no charset: the name is still there."""
    assert _headers.disposition_name(written) == name


@given(letters, st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=20))
def test_an_address_is_read_or_refused_and_its_password_never_shown(text, password):
    """Any text after the scheme gives an address or our error; what is shown has no password in it."""
    try:
        address = url.parse(f"https://user:{password}@{text}")
    except ColabKitError as error:
        said = str(error)
    else:
        said = address.shown + address.url + repr(address)
        assert "@" not in address.url.split("/")[2]
    assert password in text or password not in said


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_spans_are_the_set_of_their_positions(pairs):
    """Adding in any order is the union; what is missing is the complement; nothing is counted twice."""
    spans = journal.RangeSet()
    model = set()
    for start, length in pairs:
        spans.add(start, start + length)
        model |= set(range(start, start + length))
    assert spans.count == len(model)
    assert {at for start, stop in spans.pairs() for at in range(start, stop)} == model
    assert {at for start, stop in spans.missing(130) for at in range(start, stop)} == set(range(130)) - model
    assert set(range(spans.prefix)) <= model
    assert spans.prefix not in model


@given(st.tuples(st.integers(0, 30), st.integers(0, 30)), st.integers(0, 40), st.integers(0, 40))
def test_taking_a_span_out_leaves_the_rest(gone, start, stop):
    """The first answer's span is handed out once, whatever was missing."""
    low, high = sorted(gone)
    left = {at for a, b in _without([(start, stop)], (low, high)) for at in range(a, b)}
    assert left == set(range(start, stop)) - set(range(low, high))


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {
            "format": st.just(1) | json_values,
            "identity": st.text(max_size=9) | json_values,
            "size": sizes | json_values,
            "etag": letters | json_values,
            "modified": letters | json_values,
            "name": letters | json_values,
            "boot": st.just("this boot") | json_values,
            "written": pairs | json_values,
            "synced": pairs | json_values,
        }
    )
    | json_values
)
def test_a_sidecar_is_consistent_or_nothing(value):
    """Whatever lies beside a part: nothing, or spans in order within the size."""
    try:
        text = json.dumps(value)
    except ValueError:
        return
    try:
        known = journal._sidecar(json.loads(text), "this boot")
    except (ValueError, TypeError, KeyError):
        return
    if known is not None:
        assert journal.RangeSet(known.done).count <= known.size
        assert known.done == sorted(known.done)


@given(st.binary(max_size=5000))
def test_a_pages_words_are_one_printable_line(page):
    """Whatever a page holds, what is quoted fits a line and cannot control a terminal."""
    error_page.is_page(page, "text/html")
    said = error_page.words(page)
    assert said.isprintable()
    assert len(said) <= 300
