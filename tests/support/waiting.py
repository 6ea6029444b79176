"""Waiting that has an end."""

from __future__ import annotations

import time


def wait_until(condition, seconds=30):
    """Poll until a condition holds; fail when it does not in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
