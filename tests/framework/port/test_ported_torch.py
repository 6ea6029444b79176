"""A loop of torch with `enumerate` and bars, as people write it, ported, killed within an epoch, and run again."""

from __future__ import annotations

import pytest

from tests.support.ported_notebooks import ends


@pytest.mark.slow
def test_a_ported_loop_goes_on_after_a_kill(tmp_path):
    """Killed within the second epoch, and never: the same weights, the same rate, and each batch has its own number."""
    killed, never = (ends(tmp_path / str(die), "loop", die=die) for die in (True, False))
    assert killed == never
    assert "(2, 7)" in never


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "slices"])
def test_a_ported_loop_without_a_loader_goes_on_after_a_kill(tmp_path, name):
    """Killed within an epoch, and never: the same weights, numbers and losses, in the order that was drawn."""
    killed, never = (ends(tmp_path / str(die), name, die=die) for die in (True, False))
    assert killed == never
