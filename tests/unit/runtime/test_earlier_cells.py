"""What earlier cells did, read from their source: what comes back after a restart, and what would be lost."""

from __future__ import annotations

import types

import pytest

from colabkit.runtime.restart.carry import is_plain
from colabkit.runtime.restart.earlier_cells import analyse


@pytest.fixture(scope="module")
def shell():
    """An IPython shell of its own, without a kernel's process."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
    one = interactiveshell.InteractiveShell()
    one.before = set(one.user_ns)
    return one


@pytest.fixture
def earlier(shell):
    """Run cells, and look at them from a cell that follows."""

    def run(*cells, running="import colabkit"):
        for name in set(shell.user_ns) - shell.before:
            del shell.user_ns[name]
        for cell in cells:
            assert shell.run_cell(cell).success
        request = {"header": {"msg_type": "execute_request"}, "content": {"code": running, "store_history": True}}
        shell.kernel = types.SimpleNamespace(get_parent=lambda _: request)
        shell.user_ns["In"] = ["", *map(shell.transform_cell, cells), running]  # as IPython keeps them
        return analyse(shell)

    return run


@pytest.mark.parametrize(
    "cell",
    [
        "import os, math as m, xml.dom.minidom",
        "from math import *",
        "try:\n    import numpy as np\nexcept ImportError:\n    np = None",
        "EPOCHS, BATCH = 5, 64\nconfig = {'a': [1, 2.5, None, ('x', b'y')]}\nconfig['b'] = 1\nconfig['a'].append(2)",
        "import colabkit as ck\nHF_TOKEN = ck.secret('NO_TOKEN', env={'NO_TOKEN': 'x'})\nkeys = {'hf': HF_TOKEN}",
        "import os\nos.environ['A'] = 'b'\nos.makedirs('/tmp/x', exist_ok=True)",
        "from pathlib import Path\nfolder = Path('/tmp') / 'x'\nfolder.mkdir(exist_ok=True)",
        "import sys\nsys.path.append('/opt/x')\nprint('a', len(sys.path))",
        "import random, warnings\nrandom.seed(7)\nwarnings.filterwarnings('ignore')",
        "for i in range(3):\n    print(i)",
        "!true\n%env A=b\n%config InteractiveShell.ast_node_interactivity = 'last_expr'",
        "%%time\nx = 1 + 1",
        "%%time\nimport decimal\n!true",
        "with open('/dev/null', 'w') as f:\n    f.write('a')",
        "get_ipython().ast_node_interactivity = 'last_expr'",
        "%time import decimal",
        "%%capture\nimport decimal\nrandom_state = 3",
        "import types\ntypes.options = 1\ntypes.sizes = ['a', -1]",
        "print('y' if 'x' in globals() else 'n')",
    ],
)
def test_what_comes_back_stands_in_no_restarts_way(earlier, cell):
    """Imports, settings, plain values, files, prints and magics lose nothing."""
    assert earlier(cell).lost == ()


@pytest.mark.parametrize(
    ("cell", "lost"),
    [
        ("lock = __import__('threading').Lock", ("lock", "lock = __import__('threading').Lock")),
        ("def f():\n    return 1", ("f",)),
        ("class A: pass\na = A()", ("A", "a", "a = A()")),
        ("import json\njson = object()", ("json",)),
        ("import decimal\ndecimal.getcontext().prec = 5", ("decimal.getcontext().prec = 5",)),
        ("import gc\ngc.disable()", ("gc.disable()",)),
        ("globals()['x'] = 1", ("globals()['x'] = 1",)),
        ("import io\nf = io.BytesIO()", ("f",)),
        ("import gc\ngc.value = print", ("gc.value = print",)),
        ("%%time\nimport gc\ngc.disable()", ("gc.disable()",)),
        ("exec('y = 1')", ("exec('y = 1')",)),
    ],
)
def test_what_would_be_lost_is_named(earlier, cell, lost):
    """Objects, functions, classes, and calls whose effect on this process nobody knows."""
    assert earlier(cell).lost == lost


def test_what_the_running_cell_makes_itself_is_not_lost(earlier):
    """A cell that defines its names anew has no use for the earlier ones."""
    assert earlier("def f(): pass", running="def f(): pass\nimport colabkit").lost == ()
    assert earlier().is_none


def test_statements_are_made_again_in_their_order(earlier):
    """Imports and settings come again as they were, also those below a condition; values travel."""
    found = earlier("import random\nif True:\n    from math import tau\nrandom.seed(3)\nx = 1", "import json as j")
    assert found.again == ("import random", "from math import tau", "random.seed(3)", "import json as j")
    assert "x" in found.values
    found = earlier("try:\n    import no_such_module\nexcept ImportError:\n    x = 1")
    assert found.again == ("try:\n    import no_such_module\nexcept ImportError:\n    pass",)
    found = earlier("%%time\nimport pprint", "pprint.width = 99")
    assert found.again == ("import pprint", "pprint.width = 99")


def test_what_is_plain():
    """Numbers, texts, paths and containers of them, however they refer to one another."""
    loop = [1]
    loop.append(loop)
    assert is_plain(loop)
    assert not is_plain([object()])
    assert not is_plain(list(range(2_000)), 1_000)
