"""Which places below a folder a cell names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from colabkit.shims.named_places import places_in

TOP = "/d/MyDrive"
VARIABLES = {"DATA": f"{TOP}/data", "model": Path(TOP, "m.pt"), "number": 7}


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("open('/d/MyDrive/a b.csv')", ["a b.csv"]),
        ("R = '/d/MyDrive'\np = os.path.join(R, 'a', name)\nopen(p)", ["a"]),
        ("R = '/d/MyDrive/'\nopen(R + 'x.csv')", ["x.csv"]),
        ("Path('/d/MyDrive') / 'a' / 'b'", ["a/b"]),
        ("Path(DATA).joinpath('x').read_text()", ["data/x"]),
        ("torch.load(model)", ["m.pt"]),
        ("open(str(model))", ["m.pt"]),
        ("open(f'{DATA}/{name}.csv'), open(f'{DATA}/run_{number}/x')", ["data"]),
        ("open(DATA + '/%05d.png' % 3), open((DATA + '/in/{}.png').format(3))", ["data", "data/in"]),
        ("glob('/d/MyDrive/images/*.jpg')", ["images"]),
        ("settings = {'folder': '/d/MyDrive/runs/'}", ["runs"]),
        ("def load():\n    return open(LATER + '/q')\nLATER = '/d/MyDrive/z'", ["z/q"]),
        ("for name in ['/d/MyDrive/1', '/d/MyDrive/2']: open(name)", ["1", "2"]),
        ("sys.path.append('/d/MyDrive')", [""]),
        ("unused = '/d/MyDrive/never'", []),
        ("open('/d/MyDriveOther/a'), open('/e/x'), open(path), 1 / 2, 'a' + b", []),
        ("open('/d/MyDrive/../../etc/passwd'), open('/d/MyDrive/a/../../../etc')", []),
        ("open('/d/MyDrive/odd\\x07')", []),
        ("open('/d/MyDrive/a/x [1].csv'), glob('/d/MyDrive/b/[0-9]*')", ["a/x [1].csv", "b"]),
        (
            "get_ipython().system('unzip -q \"$DATA/a b.zip\" -d {where} > /d/MyDrive/log.txt')",
            ["data/a b.zip", "log.txt"],
        ),
        ("x = get_ipython().getoutput('ls --color=no {DATA}/in; echo \"')", ["data/in"]),
        ("get_ipython().run_line_magic('cd', '/d/MyDrive/project')", ["project"]),
        ("get_ipython().run_line_magic('cd', '/d/MyDrive/my project')", ["my project"]),
        ("get_ipython().run_line_magic('cd', '/d/MyDrive/my\\\\ project/a')", ["my project/a"]),
        ("get_ipython().run_cell_magic('bash', '', 'cat /d/MyDrive/u|wc\\ncat /d/MyDrive/v\\n')", ["u", "v"]),
        ("get_ipython().run_cell_magic('writefile', '/d/MyDrive/a.py', 'open(\"/d/MyDrive/inside\")')", ["a.py"]),
        ("x = " + "'a' + " * 5000 + "'b'", []),
    ],
)
def test_a_cell_names_places(code, places):
    """What is used counts; of a path that is known in part, the folder that it is in."""
    try:
        tree = ast.parse(code)
    except RecursionError:  # older Pythons cannot even read it
        return
    assert sorted(places_in(tree, TOP, VARIABLES)) == places
