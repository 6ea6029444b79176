"""google.colab's page: files that come and go, what a cell shows, functions that scripts call, custom widgets.

They are true of google.colab itself, too: with COLABTOOLS naming a folder that holds its source, and COLABTOOLS_PYTHON
an interpreter with the packages that it needs, they run against that.
"""

from __future__ import annotations

import os
import re
import sys

import pytest

from colabkit.testing import DriveFolder, FakeColab

pytestmark = pytest.mark.skipif(bool(DriveFolder.missing()), reason=DriveFolder.missing())

REAL = os.environ.get("COLABTOOLS", "")
PYTHON = os.environ.get("COLABTOOLS_PYTHON", sys.executable)
VIEW = "application/vnd.jupyter.widget-view+json"
MANAGER = "https://ssl.gstatic.com/colaboratory-static/widgets/colab-cdn-widget-manager/2b70e893a8ba7c0f/manager.min.js"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Start one runtime for the tests of this file."""
    env = {"PYTHONPATH": REAL} if REAL else {}
    with FakeColab(tmp_path_factory.mktemp("colab"), env=env, python=PYTHON) as one:
        one.run("from google.colab import files, output\nfrom IPython.display import display\n%xmode Minimal")
        yield one


@pytest.fixture
def colab(machine):
    """Return it as at the begin of a session, with nothing in its working folder."""
    machine.set_back()
    for path in (machine.root / "content").iterdir():
        if path.is_file():
            path.unlink()
    return machine


def said(colab, code):
    """Run a cell and return what it said, without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", colab.run(code)).strip()


def content(colab):
    """List the files of the working folder."""
    return {path.name: path.read_bytes() for path in (colab.root / "content").iterdir() if path.is_file()}


def test_files_that_the_user_chooses_arrive_whole(colab):
    """Several files, one of them empty and one of more than a piece, under their names; a taken name gets a number."""
    colab.uploads = {"a.csv": b"7,0,0", "big.bin": bytes(range(256)) * 1000, "empty": b""}
    assert (
        said(colab, "got = files.upload()") == "Saving a.csv to a.csv\nSaving big.bin to big.bin\nSaving empty to empty"
    )
    assert content(colab) == dict(colab.uploads)
    assert (
        said(colab, "{name: len(data) for name, data in got.items()}") == "{'a.csv': 5, 'big.bin': 256000, 'empty': 0}"
    )
    colab.uploads = {"a.csv": b"8"}
    assert said(colab, "list(files.upload())") == "Saving a.csv to a (1).csv\n['a (1).csv']"
    assert said(colab, "list(files.upload('data'))") == "Saving a.csv to data/a.csv\n['data/a.csv']"
    assert (colab.root / "content" / "data" / "a.csv").read_bytes() == b"8"
    assert {request.kind for request in colab.requests} == {"cell_javascript_eval"}


def test_one_file_goes_where_it_is_told(colab):
    """upload_file takes one file only; a dialog that is cancelled is its ValueError, and an empty dict of upload's."""
    colab.uploads = {"mine.csv": b"7", "second.csv": b"8"}
    assert said(colab, "files.upload_file('here.csv')") == f"Saved mine.csv to {colab.root}/content/here.csv"
    assert content(colab) == {"here.csv": b"7"}
    colab.uploads = {}
    assert said(colab, "files.upload_file('no.csv')") == "ValueError: File has not been uploaded"
    assert said(colab, "files.upload()") == "{}"


def test_a_dialog_that_nobody_sees_holds_the_cell(colab):
    """Where nobody chooses, and in VS Code, which shows no dialog, the cell waits; an interrupt ends it."""
    for colab.frontend, colab.uploads in (("vscode", {"a": b"1"}), ("browser", None)):
        with pytest.raises(TimeoutError):
            colab.run("files.upload()", timeout=0.5)
        assert "KeyboardInterrupt" in colab.interrupt()
        assert said(colab, "1 + 1") == "2"


def test_a_download_reaches_the_browser(colab):
    """Piece by piece when the cell has ended, under the file's own name; VS Code gets nothing."""
    (colab.root / "content" / 'it\'s a "model".bin').write_bytes(data := bytes(range(256)) * 10_000)
    colab.run("""files.download("it's a \\"model\\".bin")""")
    assert colab.downloads == {'it\'s a "model".bin': data}
    assert said(colab, "files.download('none')") == "FileNotFoundError: Cannot find file: none"
    colab.downloads.clear()
    colab.frontend = "vscode"
    colab.run("""files.download("it's a \\"model\\".bin")""")
    assert colab.downloads == {}


def test_a_file_is_shown_in_the_viewer(colab):
    """By its whole path, whatever its name."""
    (colab.root / "content" / "a (1).csv").write_text("7")
    colab.run("files.view('a (1).csv')")
    assert colab.viewed == [f"{colab.root}/content/a (1).csv"]
    assert said(colab, "files.view('none')") == "FileNotFoundError: Cannot find file: none"


def test_scripts_call_functions_of_the_kernel(colab):
    """A registered function gets JSON and its value is shown in all its types; an error comes with its words."""
    colab.run("from IPython.display import JSON\noutput.register_callback('add', lambda a, b=0: JSON({'sum': a + b}))")
    assert colab.invoke("add", 1, b=2)["application/json"] == {"sum": 3}
    with pytest.raises(RuntimeError, match="TypeError"):
        colab.invoke("add", "it's", b=2)
    colab.run("output.unregister_callback('add')")
    with pytest.raises(RuntimeError, match="ValueError: Function not found: add"):
        colab.invoke("add", 1)
    last = said(colab, "output.unregister_callback('add')").splitlines()[-1]
    assert last == "ValueError: Callback function not registered: add."


def test_a_cell_clears_what_it_has_shown(colab):
    """All, what has the tags, what a block shows; `wait` clears only when more is shown."""
    assert said(colab, "print('a'); output.clear(); print('b')") == "b"
    assert said(colab, "print('a'); output.clear(wait=True)") == "a"
    assert said(colab, "print('a'); output.clear(wait=True); print('b')") == "b"
    tags = "with output.use_tags('x'):\n  print('a')\n  with output.use_tags(['y'], append={}):\n    print('b')\n"
    assert said(colab, tags.format(True) + "output.clear(output_tags='x')\nprint('c')") == "c"
    assert said(colab, tags.format(False) + "output.clear(output_tags='x')\nprint('c')") == "b\nc"
    assert said(colab, tags.format(True) + "output.clear(output_tags=('x', 'y'))\nprint('c')") == "a\nc"
    assert said(colab, "with output.temporary():\n  print('a')\nprint('b')") == "b"
    assert said(colab, "output.clear(wait=1)") == "ValueError: wait must be a boolean value"
    assert said(colab, "from IPython.display import clear_output\nprint('a'); clear_output(); print('b')") == "b"


def test_custom_widgets_say_where_their_manager_is(colab):
    """While the manager is enabled, each view of a widget names it; another output does not, nor a version unknown."""
    view = f"display({{{VIEW!r}: {{'model_id': 'm'}}, 'text/plain': 'w'}}, raw=True)"
    colab.run(f"output.enable_custom_widget_manager(); {view}; display('text')")
    colab.run(f"output.disable_custom_widget_manager(); {view}")
    shown = [one.metadata for one in colab.displays]
    assert shown == [{VIEW: {"colab": {"custom_widget_manager": {"url": MANAGER}}}}, {}, {}]
    assert said(colab, "output.enable_custom_widget_manager('4')") == "ValueError: Unknown widgets version: 4"


def test_areas_and_ports_are_scripts_of_the_page(colab):
    """What is shown elsewhere, and what a port serves, is asked of the page's own functions."""
    colab.run("with output.to_footer_area():\n  pass\noutput.no_vertical_scroll()")
    colab.run("output.serve_kernel_port_as_iframe(6006, path='/x')")
    assert said(colab, "output.serve_kernel_port_as_window(6006)").endswith(
        "Try `serve_kernel_port_as_iframe` instead."
    )
    scripts = [one.data["application/javascript"] for one in colab.displays]
    wanted = ["getActiveOutputArea()", '("#output-footer")', "setActiveOutputArea(", "setActiveOutputArea("]
    wanted += ['setIframeHeight(-1, true, {"interactive": true, "maxHeight": 99999})']
    wanted += [
        '(6006, "/x", "100%", "400", false, window.element)',
        '(6006, "/", "https://localhost:6006/", window.element)',
    ]
    assert [want in script for want, script in zip(wanted, scripts, strict=True)] == [True] * len(wanted)


def test_an_answer_that_nobody_waits_for_is_passed_over(colab):
    """A script whose value is ignored is answered all the same; the next question gets its own answer."""
    colab.secrets = {"TOKEN": "abc"}
    code = "output.eval_js('1', ignore_result=True)\nfrom google.colab import userdata\nprint(userdata.get('TOKEN'))"
    assert said(colab, code) == "abc"
    assert [request.kind for request in colab.requests] == ["cell_javascript_eval", "GetSecret"]


def test_the_double_has_what_google_colab_has(colab):
    """Every public name of these modules, so that code which uses one is not surprised."""
    names = "sorted(name for name in vars(output) if not name.startswith('_') and callable(getattr(output, name)))"
    assert eval(said(colab, names)) == [  # noqa: S307 - our own kernel's list
        "clear",
        "disable_custom_widget_manager",
        "enable_custom_widget_manager",
        "eval_js",
        "no_vertical_scroll",
        "redirect_to_element",
        "register_callback",
        "serve_kernel_port_as_iframe",
        "serve_kernel_port_as_window",
        "temporary",
        "to_default_area",
        "to_footer_area",
        "to_header_area",
        "unregister_callback",
        "use_tags",
    ]
    assert said(colab, "sorted(files.__all__)") == "['download', 'upload', 'upload_file', 'view']"
