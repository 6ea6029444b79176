"""A list of very many objects is a sequence like any other, in a hundred bytes for each."""

import sys

from colabkit.storage.base import Stored
from colabkit.storage.listing import Listing


def test_a_long_list_is_a_sequence_in_little_memory():
    """Slices, ends, membership and equality as of a list; a million objects would take about a hundred MB."""
    count = 20_000
    made = (
        Stored(name=f"data/träin/{n:09}/{n:09}.jpg", size=n, modified=n / 7, version=str(17 * 10**14 + n))
        for n in range(count)
    )
    listing = Listing(made)
    plain = list(listing)
    assert (len(listing), listing[0], listing[-1]) == (count, plain[0], plain[-1])
    assert plain[5] == Stored(
        name="data/träin/000000005/000000005.jpg", size=5, modified=5 / 7, version="1700000000000005"
    )
    assert listing[3:9:2] == plain[3:9:2]
    assert plain[77] in listing
    assert listing == plain
    assert listing != plain[:-1]
    assert Listing([]) == []
    assert not Listing([])
    assert sum(map(sys.getsizeof, vars(listing).values())) / count < 120
