"""The restart in place, in real kernels, under the programs that run notebooks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.notebooks import RUNNERS, run_notebook, talk

RESTART = """
import os
import colabkit
from colabkit.errors import RestartError
print('TOP', os.getpid())
try:
    colabkit.detect().restart()
except RestartError as error:
    print(error)
"""
OTHER_NUMPY = """
import os
import numpy, colabkit
print('numpy', numpy.__version__, os.getpid())
colabkit.install('numpy==2.3.5')
print('goes on with', numpy.__version__)
"""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("runner", list(RUNNERS))
def test_the_cell_runs_again_and_the_queue_follows(kernels, runner):
    """Another numpy is installed under a live one: one run of the notebook ends well with the new one, same process."""
    kernels.install(f"numpy=={kernels.numpy}")
    ran = run_notebook(
        kernels,
        [
            OTHER_NUMPY,
            "import os; print(numpy.__version__, os.getpid(), numpy.linalg.norm([3, 4]))",
            "print('the last cell')",
        ],
        runner=runner,
    )
    assert ran.code == 0, ran.log
    first, *rest = ran.texts
    pid = first.split()[2]
    assert first.splitlines() == [
        f"numpy {kernels.numpy} {pid}",
        f"colabkit: installing numpy {kernels.numpy} -> 2.3.5 (loaded, so a restart is needed)",
        f"colabkit: numpy {kernels.numpy} is loaded, 2.3.5 is installed",
        "colabkit: restarting the kernel in place; this cell runs again from its top",
        f"numpy 2.3.5 {pid}",
        "goes on with 2.3.5",
    ]
    assert rest == [f"2.3.5 {pid} 5.0\n", "the last cell\n"]


def test_the_users_own_pip_is_noticed_and_repaired(kernels):
    """`!uv pip install` under a live numpy breaks it; the next install() finds that out and restarts."""
    kernels.install(f"numpy=={kernels.numpy}")
    ran = run_notebook(
        kernels,
        [
            (
                "import numpy\n!uv pip install -q --python {__import__('sys').executable} numpy==2.3.5\n"
                "import colabkit\ncolabkit.install('numpy')\nprint(numpy.__version__)"
            ),
            "print(numpy.zeros(2))",
        ],
    )
    assert ran.code == 0, ran.log
    assert ran.texts[0].splitlines()[-1] == "2.3.5"
    assert f"numpy {kernels.numpy} is loaded, 2.3.5 is installed" in ran.texts[0]
    assert ran.texts[1] == "[0. 0.]\n"


def test_the_environment_is_kept_and_the_folder_is_the_first_one(kernels):
    """Variables set in the cell, the loader's path too, are there again; a `%cd` of the cell can run a second time."""
    ran = run_notebook(
        kernels,
        [
            "import os, sys\nif 'MINE' not in os.environ:\n    os.makedirs('below')\n"
            "    os.environ['LD_LIBRARY_PATH'] = '/opt/libraries'\n    os.environ['MINE'] = 'a=b:ü'\n"
            "%cd -q below\n" + RESTART,
            (
                "print(os.environ['MINE'], os.environ['LD_LIBRARY_PATH'], os.path.basename(os.getcwd()))\n"
                "!echo from a child: $LD_LIBRARY_PATH\n"
                "print(open('/proc/self/environ').read().count('LD_LIBRARY_PATH=/opt/libraries'))"
            ),
        ],
    )
    assert ran.code == 0, ran.log
    assert ran.texts[1].splitlines() == ["a=b:ü /opt/libraries below", "from a child: /opt/libraries", "1"]


def test_it_happens_once_for_one_run_of_a_cell(kernels):
    """A cell that always asks is restarted once and goes on: there is no loop, and the cells behind it run."""
    ran = run_notebook(kernels, ["import os, colabkit\nprint('TOP')\ncolabkit.detect().restart()", "print('after')"])
    assert ran.code == 0, ran.log
    assert ran.texts[0].count("TOP") == 2
    assert "this cell has already restarted the kernel once, and goes on" in ran.texts[0]
    assert ran.texts[1] == "after\n"


def test_what_earlier_cells_made_is_not_lost(kernels):
    """A later cell is refused and says what would be lost: objects, functions, and what a call did in this process."""
    first = (
        "import math, threading\nmodel = threading.Lock()\ndef f(): pass\nthreading.Thread(target=f).start()\nx = [1]"
    )
    ran = run_notebook(kernels, [first, RESTART, "print(x, math.pi)"])
    assert ran.code == 0, ran.log
    assert ran.texts[1].count("TOP") == 1
    assert "a restart would lose what earlier cells made" in ran.texts[1]
    assert "f, model, model = threading.Lock(), threading.Thread(target=f).start()" in ran.texts[1]
    assert ran.texts[2] == "[1] 3.141592653589793\n"


EARLIER = """
import importlib, sys, types
if sys.version_info >= (3, 12):
    sys.modules['imp'] = types.SimpleNamespace(reload=importlib.reload)
%load_ext colabkit
%load_ext autoreload
%autoreload 2
%xmode Minimal
%config InteractiveShell.ast_node_interactivity = 'last_expr_or_assign'
%precision 3
import os.path, xml.dom.minidom as dom
from math import tau as full_circle
import random, sys
random.seed(7)
sys.path.append('/opt/mine')
EPOCHS, PLACES = 5, {'data': [os.path.join('a', 'b')]}
alias = PLACES['data']
import colabkit as ck
HF_TOKEN = ck.secret('HF_TOKEN', env={'HF_TOKEN': 'a-token'})
ck.colab_shim(quiet=True)
try:
    import google.colab
    IN_COLAB = True
except ImportError:
    IN_COLAB = False
from google.colab import drive
drive.mount('/content/drive')
%mkdir -p deeper
%cd -q deeper
"""
LOOK = """
print(EPOCHS, PLACES, alias is PLACES['data'], dom.__name__, full_circle, sys.path[-1], random.random())
print(get_ipython().InteractiveTB.mode, get_ipython().ast_node_interactivity)
magics = get_ipython().magics_manager
print('AutoreloadMagics' in magics.registry, 'colabkit' in magics.magics['line'])
%autoreload
print(len(In), In[1].count('EPOCHS'), {'hf': HF_TOKEN}, HF_TOKEN == 'a-token')
print(IN_COLAB, drive.__name__, os.path.relpath('/content/drive'), os.listdir('/content/drive'))
print([place.name for place in __import__('colabkit.runtime.my_drive').runtime.my_drive.stand_ins])
value = 2 / 3
"""


def test_settings_imports_and_plain_values_of_earlier_cells_come_back(kernels):
    """Extensions, %config, %xmode, %autoreload, imports, seeds and values are as they were, and prompts count on."""
    plain = run_notebook(kernels, [EARLIER, "print('no restart')", LOOK, "value"])
    ran = run_notebook(kernels, [EARLIER, RESTART, LOOK, "value"])
    assert ran.code == 0, ran.log
    assert ran.texts[1].count("TOP") == 2
    assert "earlier cells' imports, settings and plain values come back" in ran.texts[1]
    assert ran.texts[2:] == plain.texts[2:]
    assert "did not come back" not in ran.texts[1]


def test_an_extension_that_the_next_cell_needs_is_there(colab_kernels):
    """`%load_ext colabkit` in one cell, `%colabkit install` in the next: Run all goes through."""
    colab_kernels.install(f"numpy=={colab_kernels.numpy}")
    ran = run_notebook(
        colab_kernels,
        ["%load_ext colabkit\nimport numpy", "%colabkit install numpy==2.3.5", "print(numpy.__version__)"],
    )
    assert ran.code == 0, ran.log
    assert ran.texts[2] == "2.3.5\n"


PLOTTING = """
%matplotlib inline
import matplotlib.pyplot as plt
%config InlineBackend.figure_formats = ['svg']
plt.rcParams['figure.dpi'] = 50
plt.rcParams['axes.grid'] = True
"""
PLOT = """
from matplotlib_inline.config import InlineBackend
print(plt.get_backend(), InlineBackend.instance().figure_formats, plt.rcParams['figure.dpi'], plt.rcParams['axes.grid'])
print(sorted(kind.__name__ for kind in get_ipython().display_formatter.formatters['image/svg+xml'].type_printers))
"""


@pytest.mark.slow
def test_matplotlibs_backend_and_its_formats_come_back(kernels, tmp_path):
    """After a restart figures appear in the notebook as they did before: backend, format, resolution, style."""
    matplotlib = pytest.importorskip("matplotlib")
    site = Path(matplotlib.__file__).parent.parent
    parts = "matplotlib mpl_toolkits PIL cycler kiwisolver contourpy dateutil six.py pyparsing packaging fontTools"
    libraries = [path.name for path in site.glob("*.libs") if path.name.split(".")[0] in ("pillow", "kiwisolver")]
    for name in [*parts.split(), *libraries]:
        (tmp_path / name).symlink_to(site / name)
    plotting = f"import sys; sys.path.append({str(tmp_path)!r})\n{PLOTTING}"
    ran = run_notebook(kernels, [plotting, RESTART, PLOT])
    assert ran.code == 0, ran.log
    assert ran.texts[1].count("TOP") == 2
    assert re.fullmatch(r"\S*inline {'svg'} 50.0 True\n\['Figure'\]\n", ran.texts[2])
    assert "did not come back" not in ran.texts[1]


def test_a_queue_restarts_as_often_as_it_needs(kernels):
    """Two cells that each replace a loaded package, and one cell with two installs: never is a stale package used."""
    kernels.install(f"numpy=={kernels.numpy}", "six==1.17.0")
    ran = run_notebook(
        kernels,
        [
            "import numpy, colabkit\ncolabkit.install('numpy==2.3.4')\nprint(numpy.__version__)",
            "print('between', numpy.__version__)",
            "colabkit.install('numpy==2.3.5')\nimport six\ncolabkit.install('six==1.16.0')\nprint(six.__version__)",
            "print('last', numpy.__version__, six.__version__)",
        ],
    )
    assert ran.code == 0, ran.log
    assert ran.texts[1] == "between 2.3.4\n"
    assert ran.texts[2].count("restarting the kernel in place") == 2
    assert ran.texts[2].splitlines()[-1] == "1.16.0"
    assert ran.texts[3] == "last 2.3.5 1.16.0\n"


def test_a_queue_ends_where_it_would_go_on_with_stale_packages(colab_kernels):
    """Where a restart would lose something, the cell fails with the reason and no later cell runs on half a package."""
    colab_kernels.install(f"numpy=={colab_kernels.numpy}")
    ran = run_notebook(
        colab_kernels,
        ["import numpy\nmodel = numpy.zeros(2)", "import colabkit\ncolabkit.install('numpy==2.3.5')", "print('never')"],
    )
    assert ran.code != 0
    assert "a restart would lose what earlier cells made; the cells that follow do not run" in ran.log


def test_a_cell_that_goes_to_and_fro_ends(colab_kernels):
    """A cell that asks for one version and then for another is restarted once for each, and then refused in words."""
    colab_kernels.install(f"numpy=={colab_kernels.numpy}")
    cell = "import numpy, colabkit\nfor one in ('2.3.4', '2.3.5'):\n    colabkit.install(f'numpy=={one}')"
    ran = run_notebook(colab_kernels, [cell, "print('never')"])
    assert ran.code != 0
    assert "this cell has already restarted the kernel once for numpy" in ran.log


def test_earlier_cells_that_made_nothing_do_not_stand_in_the_way(kernels):
    """`!nvidia-smi`, a print, a magic: nothing would be lost."""
    ran = run_notebook(kernels, ["print('hello')\n!true", "%time 1 + 1", RESTART, "print('after')"])
    assert ran.code == 0, ran.log
    assert ran.texts[2].count("TOP") == 2
    assert ran.texts[3] == "after\n"


def test_force_restarts_all_the_same(kernels):
    """The user has the last word: earlier names are gone, the environment and the queue are not."""
    ran = run_notebook(
        kernels,
        [
            "model = object()",
            (
                "import colabkit\ntry:\n    colabkit.detect().restart(force=True)\n"
                "except colabkit.errors.RestartError: pass\nprint('model' in globals())"
            ),
            "print('after')",
        ],
    )
    assert ran.code == 0, ran.log
    assert ran.texts[1].splitlines()[-1] == "False"
    assert ran.texts[2] == "after\n"


def test_a_bare_except_does_not_stop_it(kernels):
    """A cell that swallows everything runs to its end once, and still starts again from its top."""
    ran = run_notebook(
        kernels,
        [
            "import colabkit, os\nprint('top')\ntry:\n    colabkit.detect().restart()\nexcept:\n    pass\nprint('end')",
            "print('after')",
        ],
    )
    assert ran.code == 0, ran.log
    said = "colabkit: restarting the kernel in place; this cell runs again from its top\n"
    done = "colabkit: this cell has already restarted the kernel once, and goes on\n"
    assert ran.texts == (f"top\n{said}end\ntop\n{done}end\n", "after\n")


def test_errors_of_the_cells_after_it_are_errors(kernels):
    """The queue is the notebook's again: a later failure ends the run as it always does."""
    ran = run_notebook(kernels, [RESTART, "raise ValueError('mine')", "print('never')"], runner="jupyter execute")
    assert ran.code != 0
    assert "mine" in ran.log


def test_output_by_descriptor_and_subprocess_still_arrives(kernels):
    """What is written past Python, by a subprocess or to descriptor 1, is shown after a restart as before."""
    ran = run_notebook(
        kernels, [RESTART, "import os, time\n!echo child\nos.write(1, b'descriptor\\n'); time.sleep(0.5)"]
    )
    assert ran.code == 0, ran.log
    assert {"child", "descriptor"} <= set(ran.texts[1].split())


def test_a_thread_is_refused(kernels):
    """Only a cell can run again."""
    code = (
        "import threading\nfrom colabkit.runtime.restart import refusal\nsaid = []\n"
        "thread = threading.Thread(target=lambda: said.append(refusal()))\nthread.start(); thread.join()\n"
        "print(said[0].why)\nprint(refusal())"
    )
    ran = run_notebook(kernels, [code])
    assert ran.code == 0, ran.log
    assert ran.texts[0].splitlines() == ["this is another thread or process of it", "None"]


def test_a_widgets_callback_is_refused(kernels):
    """A button has no cell that could run again: nothing happens to the kernel, and the reason is said."""
    register = (
        "from colabkit.runtime.restart import refusal\n"
        "said = []\n"
        "get_ipython().kernel.comm_manager.register_target('t', lambda comm, message: said.append(refusal()))"
    )
    found = talk(kernels, ["run", register], ["comm", "t"], ["run", "print(said[0].why)"])
    assert found[2] == "this is the callback of a button or a widget, and no cell could run again\n"


def test_after_it_a_frontend_finds_everything_in_its_place(kernels):
    """Run all, prompts, interrupts, and the menu's own restart work as before; that restart forgets the environment."""
    found = talk(
        kernels,
        ["queue", "import os; os.environ['MINE'] = '1'\n" + RESTART, "print('two')", "print('three')"],
        ["run", "print(input('name? '))", "me"],
        ["interrupt", "import time; print('running\\n', end='', flush=True); time.sleep(60)"],
        ["restart"],
        ["run", "import os; print(os.environ.get('MINE'), os.environ.get('COLABKIT_RESTARTED'))"],
    )
    assert found[0][0].count("TOP") == 2
    assert found[0][1:] == ["two\n", "three\n"]
    assert found[1] == "name? me\n"
    assert found[2] == "running\nKeyboardInterrupt: "
    assert found[4] == "None None\n"


def test_a_second_run_of_the_cell_may_restart_again(kernels):
    """Once for one run of a cell, not once for ever: after a cell was changed it can be run again."""
    found = talk(kernels, ["run", RESTART], ["run", RESTART], ["run", "print('alive')"])
    assert [text.count("TOP") for text in found] == [2, 2, 0]
    assert found[2] == "alive\n"


def test_ask_asks_first(kernels):
    """restart="ask" leaves the kernel as it is unless somebody says yes."""
    kernels.install(f"numpy=={kernels.numpy}")
    cell = "import numpy, colabkit; r = colabkit.install('numpy==2.3.5', restart='ask'); print(numpy.__version__)"
    no, again = talk(kernels, ["run", cell, "n"], ["run", cell, "y"])
    assert no.splitlines()[-1] == kernels.numpy
    assert again.splitlines()[-1] == "2.3.5"


def test_where_it_cannot_be_done_and_somebody_watches_the_kernel_is_killed(kernels):
    """The way that remains: the next kernel has the environment but no secrets, and says what to do."""
    cell = (
        "import os, sys\nsys.orig_argv = ['python']\nos.environ['MINE'] = '1'; os.environ['MY_TOKEN'] = 'hush'\n"
        "os.makedirs('below', exist_ok=True); os.chdir('below')\nsys.path.append('/opt/mine')\n"
        "import colabkit; colabkit.detect().restart()"
    )
    look = "import os, sys; print(os.environ.get('MINE'), os.environ.get('MY_TOKEN'), os.getcwd()[-5:], sys.path[-1])"
    died, first, second = talk(kernels, ["revive", cell], ["run", look], ["run", "print('quiet')"])
    assert died
    assert first.splitlines() == [
        "colabkit: this is a new kernel, with the environment of the one before; run all cells from the top",
        "1 None below /opt/mine",
    ]
    assert second == "quiet\n"


def test_a_headless_run_is_never_killed(kernels):
    """Where the restart in place cannot be done, a run that nobody watches goes on in the old process."""
    ran = run_notebook(
        kernels,
        ["import sys\nsys.orig_argv = ['python']\n" + RESTART, "print('after')"],
    )
    assert ran.code == 0, ran.log
    assert "cannot be restarted in place" in ran.texts[0]
    assert "never" not in ran.texts[0]
    assert ran.texts[1] == "after\n"


def test_if_the_last_step_fails_the_old_process_goes_on(kernels):
    """The kernel could not be replaced after all: the held cells run where they are, and nothing is lost or hangs."""
    broken = (
        "import os, sys\nif 'COLABKIT_RESTARTED' not in os.environ:\n"
        "    open('broken', 'wb').write(b'not a program')\n    os.chmod('broken', 0o755)\n"
        "    sys.executable = os.path.abspath('broken')\n"
    )
    ran = run_notebook(kernels, [broken + RESTART, "print('after')"])
    assert ran.code == 0, ran.log
    assert ran.texts[0].count("TOP") == 2
    assert "could not be restarted in place" in ran.texts[0] + ran.log
    assert "already restarted the kernel once\nWhy: another restart" in ran.texts[0]
    assert ran.texts[1] == "after\n"
