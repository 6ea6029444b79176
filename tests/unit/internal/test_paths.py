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
