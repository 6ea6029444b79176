"""Threads that others wait for."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from colabkit._internal.process.threads import start_thread


@pytest.fixture
def interrupted():
    """Send Ctrl-C to this process in 0.2 s, as the stop button of a notebook does."""
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.join()


@pytest.mark.parametrize("seconds", [None, 5.0])
def test_a_wait_that_ctrl_c_ends_leaves_the_thread_alive(interrupted, seconds):
    """Who waits once more, to let it save what it has, waits for its end: Python before 3.13 took it for ended."""
    ended = threading.Event()
    thread = start_thread(lambda: (time.sleep(1), ended.set()), name="test")
    with pytest.raises(KeyboardInterrupt):
        thread.join(seconds)
    assert thread.is_alive()
    thread.join(seconds)
    assert ended.is_set()
    assert not thread.is_alive()
