"""What google.colab does, held against the double, and by `pytest --colabtools PATH` against the real one.

The real one needs the packages of Colab's image: `--colabtools-python` names a Python that has them (ipykernel 6.17.1,
IPython 7.34, pandas, pexpect, psutil, google-auth, anywidget, httplib2, Pillow). Its Drive needs a real Colab.
"""

from __future__ import annotations

import pytest

from colabkit.testing import FakeColab

SETUP = """
from google.colab import _message, errors, files, output, userdata
import sys, time
def attempt(work, *args, **options):
    try:
        print(work(*args, **options))
    except Exception as error:
        print(type(error).__name__, isinstance(error, errors.Error), error)
"""


def pytest_generate_tests(metafunc):
    """Hold the real one to it where there is a checkout."""
    if "machine" in metafunc.fixturenames:
        real = ["real"] if metafunc.config.getoption("--colabtools") else []
        metafunc.parametrize("machine", ["double", *real], indirect=True, scope="module")


@pytest.fixture(scope="module")
def machine(request, tmp_path_factory):
    """A kernel with the double in it, or with the real google.colab of a checkout."""
    options = {}
    if request.param == "real":
        options["colabtools"] = request.config.getoption("--colabtools")
        if python := request.config.getoption("--colabtools-python"):
            options["python"] = python
    folder = tmp_path_factory.mktemp("contract")
    with FakeColab(folder, javascript=lambda script: f"ran {script}", **options) as one:
        if request.param == "real":
            one.run("%load_ext google.colab")
        one.loaded = one.run("import sys; print(*(name in sys.modules for name in ('numpy', 'ipywidgets')))")
        one.run(SETUP)
        yield one


@pytest.fixture
def colab(machine):
    """Return it as at the begin of a session."""
    machine.frontend, machine.consent, machine.delay, machine.uploads = "browser", "granted", 0.0, None
    machine.secrets = {"HERE": "value", "LOCKED": None}
    for told in (machine.requests, machine.displays, machine.downloads):
        told.clear()
    return machine


def test_a_fresh_kernel_has_numpy_and_ipywidgets(colab):
    """Both are loaded before the first cell: another numpy needs a restart."""
    assert colab.loaded == "True True\n"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("userdata.get, 'HERE'", "value"),
        ("userdata.get, 'GONE'", "SecretNotFoundError True Secret GONE does not exist."),
        ("userdata.get, 'LOCKED'", "NotebookAccessError False Notebook does not have access to secret LOCKED"),
        ("userdata.get, ''", "ValueError False Please enter a valid secret name"),
        ("userdata.get, 'a b'", "ValueError False Secret name cannot contain spaces or whitespace"),
        ("userdata.TimeoutException, 'K'", "Requesting secret K timed out. Secrets can only be fetched when running"),
        ("output.eval_js, '1 + 1'", "ran 1 + 1"),
        ("output.eval_js, '1', ignore_result=True", "None"),
        ("output.unregister_callback, 'nobody'", "ValueError False Callback function not registered: nobody."),
        ("output.clear, wait=1", "ValueError False wait must be a boolean value"),
        ("files.download, '/no/such/file'", "FileNotFoundError False Cannot find file: /no/such/file"),
    ],
)
def test_calls_answer_and_fail_in_their_words(colab, call, words):
    """Values, classes and words are google.colab's, and so is which of them is one of its own Errors."""
    assert colab.run(f"attempt({call})").startswith(words)


def test_silence_refusals_and_late_answers(colab):
    """Silence is None after the time, an error is a MessageError, and an answer to an earlier question is dropped."""
    colab.frontend = "silent"
    assert colab.run("attempt(_message.blocking_request, 'GetSecret', {'key': 'HERE'}, timeout_sec=0.5)") == "None\n"
    colab.frontend, colab.consent = "browser", "refused"
    said = colab.run("attempt(_message.blocking_request, 'request_auth', {'authType': 'dfs_ephemeral'})")
    assert said == "MessageError True Error: credential propagation was unsuccessful\n"
    colab.delay = 0.6
    assert colab.run("attempt(_message.blocking_request, 'GetSecret', {'key': 'HERE'}, timeout_sec=0.2)") == "None\n"
    colab.run("time.sleep(0.6)")
    colab.delay = 0.0
    assert colab.run("attempt(userdata.get, 'HERE')") == "value\n"


def test_tagged_output_is_cleared(colab):
    """`temporary` and `clear(output_tags=…)` clear what was shown under a tag, and nothing else."""
    code = (
        "print('stays')\nwith output.temporary():\n    print('goes')\n"
        "with output.use_tags('a'):\n    print('goes too')\noutput.clear(output_tags='a')\nprint('after')"
    )
    assert colab.run(code) == "stays\nafter\n"


def test_callbacks_of_the_page(colab):
    """A registered function is called by its name, with what JSON can say."""
    colab.run("output.register_callback('add', lambda a, b=0: a + b)")
    assert colab.invoke("add", 1, b=2)["text/plain"] == "3"
    colab.run("output.unregister_callback('add')")


def test_an_import_error_brings_a_note(colab):
    """Colab tells how a missing package is installed."""
    assert "NOTE: If your import is failing due to a missing package" in colab.run("import no_such_module_here")


def test_files_go_both_ways(colab):
    """The page uploads in pieces, and asks for the pieces of a download."""
    colab.uploads = {"a.txt": b"x" * 250_000}
    assert colab.run("print(len(files.upload()['a.txt']), open('a.txt').read(3))").endswith("250000 xxx\n")
    colab.run("files.download('a.txt')")
    assert colab.downloads == {"a.txt": b"x" * 250_000}
