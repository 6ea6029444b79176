"""The budget of tries: doubling waits, what a server asks for, renewal."""

import random

import pytest

from colabkit._internal.retry import Backoff


def test_waits_double_up_to_the_longest_and_end():
    """So many failures in a row are forgiven, with longer and longer waits."""
    budget = Backoff(tries=5, first=1.0, longest=5.0, jitter=0.0)
    assert [budget.wait() for _ in range(6)] == [1.0, 2.0, 4.0, 5.0, 5.0, None]


def test_progress_renews_the_budget():
    """After real progress the count begins anew."""
    budget = Backoff(tries=1, first=1.0, jitter=0.0)
    assert budget.wait() == 1.0
    budget.renew()
    assert (budget.wait(), budget.wait()) == (1.0, None)


def test_an_outage_of_a_day_is_waited_for():
    """A budget without an end goes on doubling nothing: the waits stay at the longest."""
    budget = Backoff(tries=10**6, first=1.0, longest=60.0, jitter=0.0)
    assert {budget.wait() for _ in range(2000)} == {1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0}


@pytest.mark.parametrize(("asked", "expected"), [(0, 1.0), (7, 7), (120, 120), (121, None)])
def test_what_a_server_asks_is_done_within_reason(asked, expected):
    """A Retry-After is kept if it is no longer than our patience; longer ones end the task."""
    assert Backoff(first=1.0, jitter=0.0).wait(requested=asked) == expected


def test_jitter_only_shortens():
    """Chance spreads the waits below the nominal one, never above."""
    waits = {Backoff(first=8.0).wait() for _ in range(50)}
    assert len(waits) > 10
    assert 6.0 <= min(waits) <= max(waits) <= 8.0


def test_a_users_seed_is_left_alone():
    """What a program draws after seeding does not depend on whether a thread of ours had to try again meanwhile."""
    random.seed(1)
    expected = random.random()  # noqa: S311
    random.seed(1)
    Backoff().wait()
    assert random.random() == expected  # noqa: S311
