"""Colab's secrets, read in a real kernel with a page, or nobody, in front of it."""

from __future__ import annotations

import pytest

from colabkit.testing import FakeColab

TRY = """
import time, colabkit as ck
def attempt(name, **options):
    start = time.monotonic()
    try:
        said = "got " + ck.secret(name, **options)[::-1]
    except ck.errors.ColabKitError as error:
        said = f"{type(error).__name__}: {error}"
    print(said, "|", "quick" if time.monotonic() - start < 1.5 else "slow", "|")
"""


@pytest.fixture
def page(tmp_path):
    """Make pages, each with a kernel of its own, and close them."""
    made = []

    def make(**options):
        made.append(FakeColab(tmp_path / str(len(made)), **options))
        made[-1].start()
        made[-1].run(TRY)
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_browser(page):
    """A secret, a missing one and one without access are told apart, and the probe is sent once."""
    browser = page(secrets={"HF_TOKEN": "value-1", "LOCKED": None})
    assert browser.run("attempt('HF_TOKEN')").startswith("got 1-eulav | quick")
    missing = browser.run("attempt('NO_SUCH', prompt=False)")
    assert missing.startswith("SecretNotFoundError: no secret named 'NO_SUCH'")
    assert "Colab: has none of that name" in missing
    locked = browser.run("attempt('LOCKED')")
    assert locked.startswith("SecretAccessError: this notebook has no access to the secret 'LOCKED'")
    assert "switch on notebook access" in locked
    assert browser.secrets_asked == ["COLABKIT_IS_ANYBODY_THERE", "HF_TOKEN", "NO_SUCH", "LOCKED"]
    assert browser.run("print(ck.detect().frontend)").strip() == "browser"


@pytest.mark.slow
def test_on_colabs_own_kernel(page, colab_kernels):
    """The versions of ipykernel and IPython that Colab has carry the requests as the newest do."""
    browser = page(secrets={"HF_TOKEN": "value-1", "LOCKED": None}, python=colab_kernels.python)
    assert browser.run("attempt('HF_TOKEN')").startswith("got 1-eulav | quick")
    assert browser.run("attempt('LOCKED')").startswith("SecretAccessError")
    assert browser.run("attempt('NO_SUCH')", answer="typed").startswith("got depyt")
    assert browser.run("ck.secret('HF_TOKEN')") == "<secret of 7 characters>"


def test_a_value_is_not_shown(page):
    """A cell that ends with secret() shows no value, nor does the most talkative traceback of a failure."""
    browser = page(secrets={"HF_TOKEN": "value-1"})
    assert browser.run("ck.secret('HF_TOKEN')") == "<secret of 7 characters>"
    browser.run("import os; os.environ['OTHER_TOKEN'] = 'value-2'\n%xmode Verbose")
    trace = browser.run("token = ck.secret('HF_TOKEN'); ck.secret('NO_SUCH', prompt=False)")
    assert "SecretNotFoundError" in trace
    assert "value-1" not in trace
    assert "value-2" not in trace


def test_a_missing_secret_is_asked_for(page):
    """Where a page can prompt, a missing secret is typed by the user, hidden as a password."""
    assert page().run("attempt('NO_SUCH')", answer="typed").startswith("got depyt")


IMPATIENT = "from colabkit.runtime.frontend import rpc; rpc.PROBE_SECONDS = 1.6"
"""Waits less than google.colab does, so that the tests are quick."""


def test_a_page_that_answers_late(page):
    """On a slow line, or from a busy tab, an answer takes seconds: it is waited for as google.colab does."""
    slow = page(secrets={"HF_TOKEN": "value-1"}, delay=2.3)
    assert slow.run("attempt('HF_TOKEN')").startswith("got 1-eulav | slow")


def test_a_page_that_returns(page):
    """A silence is true for its attempt only: when the tab is back, its late answer tells so."""
    sleeping = page(secrets={"HF_TOKEN": "value-1"}, delay=2.0)
    sleeping.run(IMPATIENT)
    assert sleeping.run("attempt('HF_TOKEN', prompt=False)").startswith("NoBrowserError")
    sleeping.run("time.sleep(1)")
    sleeping.delay = 0.0
    assert sleeping.run("attempt('HF_TOKEN')").startswith("got 1-eulav | quick")
    assert sleeping.secrets_asked == ["COLABKIT_IS_ANYBODY_THERE", "HF_TOKEN"]


def test_no_browser(page):
    """The command answers nothing: one wait, a typed error, and no stall for another name within a minute."""
    silent = page(frontend="cli")
    silent.run(IMPATIENT)
    first, second = silent.run("attempt('HF_TOKEN')"), silent.run("attempt('OTHER')")
    assert first.startswith("NoBrowserError: no browser shows this notebook")
    assert first.endswith("| slow |\n")
    assert second.startswith("NoBrowserError")
    assert second.endswith("| quick |\n")
    assert silent.secrets_asked == ["COLABKIT_IS_ANYBODY_THERE"]
    assert silent.run("import os; os.environ['OTHER'] = 'abc'\nattempt('OTHER')").startswith("got cba | quick")
    assert silent.run("print(ck.detect().frontend)").strip() == "cli"
    assert silent.run("__vsc_ipynb_file__ = 'n.ipynb'\nprint(ck.detect().frontend)").strip() == "vscode"


def test_a_browser_that_falls_silent(page):
    """A page that answers the probe and then nothing more is waited for once in a cell, and asked again by the next."""
    stalling = page(answers=1, env={"FAKE_COLAB_SECRET_TIMEOUT": "1.6"})
    first = stalling.run("attempt('HF_TOKEN', prompt=False)")
    assert first.startswith("SecretTimeoutError: Colab's secrets do not answer")
    assert first.endswith("| slow |\n")
    both = stalling.run("attempt('OTHER', prompt=False); attempt('THIRD', prompt=False)")
    assert both.count("slow") == both.count("quick") == 1
    assert stalling.secrets_asked == ["COLABKIT_IS_ANYBODY_THERE", "HF_TOKEN", "OTHER"]
    assert "is treated as missing" in stalling.run("print(ck.secret('OTHER', default=None))")


def test_another_thread_does_not_ask(page):
    """A background thread gets an error that says so, and no request is sent."""
    browser = page(secrets={"HF_TOKEN": "value-1"})
    code = "import threading\nt = threading.Thread(target=attempt, args=('HF_TOKEN',)); t.start(); t.join()"
    assert "SecretError: Colab's secrets cannot be read in this thread" in browser.run(code)
    assert browser.secrets_asked == []
