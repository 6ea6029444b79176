"""What every test gets: a home, a cache and an environment of its own."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

import colabkit
from colabkit._internal.log import logger
from tests.support.kernels import SETS, build_command

# In the background of a script Ctrl-C is ignored, and so it would be by every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HOST_MARKS = (
    "COLAB_",
    "KAGGLE_",
    "TBE_",
    "VERTEX_",
    "SAGEMAKER_",
    "SM_",
    "LIGHTNING_",
    "PAPERSPACE_",
    "DEEPNOTE_",
)


if importlib.util.find_spec("hypothesis") is not None:  # a busy machine is no fault of an input
    settings = importlib.import_module("hypothesis").settings
    settings.register_profile("colabkit", deadline=None)
    settings.load_profile("colabkit")

KINDS = ("unit", "service", "framework", "browser")
TESTS = Path(__file__).parent

# TensorFlow 2.20 and newer, loaded before a torch with triton 3.7, ends the process (tensorflow#124205); with triton
# first both live, in whatever order the tests of a worker bring them in.
if importlib.util.find_spec("triton") is not None:
    importlib.import_module("triton")


def pytest_collection_modifyitems(items):
    """Give each test the marker of its folder: unit, service, framework or browser."""
    for item in items:
        if item.path.is_relative_to(TESTS) and (kind := item.path.relative_to(TESTS).parts[0]) in KINDS:
            item.add_marker(kind)


def pytest_addoption(parser):
    """Let the contract of FakeColab be held against the real google.colab, too."""
    parser.addoption("--colabtools", metavar="PATH", help="a checkout of https://github.com/googlecolab/colabtools")
    parser.addoption("--colabtools-python", metavar="PATH", help="the Python of a kernel that can import it")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Tell each failure when it happens, too; a session that never ends has no summary."""
    if not hasattr(config, "workerinput"):  # under xdist, in the process that prints
        config.pluginmanager.register(FailuresAtOnce(config))
    if importlib.util.find_spec("transformers") is None:  # these derive from its classes, and have no examples
        modules = Path(colabkit.__file__).parent / "checkpoint" / "transformers"
        ignored = [str(modules / name) for name in ("callback.py", "hooks.py")]
        config.option.ignore = [*(config.option.ignore or ()), *ignored]


class FailuresAtOnce:
    """Prints which test failed, and why, as soon as it has."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        """Print the name of a failed test, and the last line of what it raised."""
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash is not None else str(report.longrepr)
            terminal.write_line(f"\n{report.when} failed: {report.nodeid} - {message[:2000]}", flush=True)


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    """No test reads a developer's keys, settings or cache, or takes this machine for a notebook host."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith((*HOST_MARKS, "COLABKIT_", "GOOGLE_", "CLOUDSDK_", "STORAGE_", "AWS_", "HF_", "WANDB_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name, folder in {
        "XDG_CACHE_HOME": ".cache",
        "XDG_CONFIG_HOME": ".config",
        "XDG_DATA_HOME": ".share",
    }.items():
        monkeypatch.setenv(name, str(home / folder))
    logger.handlers.clear()  # as in a new process: a thread of an earlier test may have spoken between two tests
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    return home


@pytest.fixture
def quick_retries(monkeypatch):
    """Let the waits between two tries of a service be a twentieth."""
    from colabkit._engine import downloader
    from colabkit._http import service
    from colabkit._internal.retry import Backoff

    for module in (service, downloader):
        monkeypatch.setattr(module, "Backoff", lambda **options: Backoff(first=0.025, longest=1.0, **options))


@pytest.fixture
def gcs(monkeypatch, quick_retries):
    """Run Cloud Storage on this machine, found as Google's client finds an emulator."""
    from colabkit.testing.gcs import FakeGCS

    with FakeGCS() as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.endpoint)
        yield running


@pytest.fixture
def empty_hub(monkeypatch, tmp_path_factory):
    """Play Hugging Face's Hub to its own client; nobody is signed in."""
    from colabkit.testing.huggingface import FakeHub

    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    if (constants := sys.modules.get("huggingface_hub.constants")) is not None:  # it has read the environment before
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with FakeHub() as played:
        monkeypatch.setenv("HF_ENDPOINT", played.endpoint)
        yield played


@pytest.fixture
def hub(empty_hub, monkeypatch):
    """Play the Hub; the account ada is signed in."""
    from colabkit.testing.huggingface import TOKEN

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return empty_hub


@pytest.fixture
def google_drive(monkeypatch, quick_retries):
    """Play Drive to this process and to those that it starts; nobody is signed in."""
    from colabkit.testing.google_drive import FakeDrive
    from colabkit.testing.web import FakeWeb

    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    drive = FakeDrive()
    with FakeWeb(drive) as web:
        for name, value in web.env.items():
            monkeypatch.setenv(name, value)
        yield drive


@pytest.fixture
def signed_in_drive(google_drive, monkeypatch, tmp_path_factory):
    """Play Drive, and leave credentials where gcloud leaves them."""
    from colabkit.testing.google_drive import CREDENTIALS

    path = tmp_path_factory.mktemp("google") / "credentials.json"
    path.write_text(json.dumps(CREDENTIALS))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return google_drive


def _kernel_sets():
    """Return a function that gives a kernel set to these tests alone, or skips them and says how the set is built."""
    with contextlib.ExitStack() as until_the_end:

        def take(name):
            if not SETS[name].is_built:
                pytest.skip(f"the kernel set is not built; run: {build_command(name)}")
            return until_the_end.enter_context(SETS[name].held())

        yield take


kernel_set = pytest.fixture(_kernel_sets, name="kernel_set")
kernel_set_of_module = pytest.fixture(_kernel_sets, name="kernel_set_of_module", scope="module")


@pytest.fixture(params=list(SETS))
def kernels(request, kernel_set):
    """Each kernel set, as it was built; a test that changes its packages puts them back first."""
    return kernel_set(request.param)


@pytest.fixture
def colab_kernels(kernel_set):
    """Colab's kernel set alone, for what does not depend on the kernel's version."""
    return kernel_set("colab")
