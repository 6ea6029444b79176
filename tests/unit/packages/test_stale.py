"""Which loaded modules are not the installed ones: exactly, whoever installed."""

from __future__ import annotations

import json

import pytest

from tests.support.package_index import write_wheel

SCRIPT = """
import json, subprocess, sys
def uv(*words):
    subprocess.run([{uv!r}, "pip", "install", "-q", "--python", sys.executable, "--default-index", {index!r}, *words],
                   check=True)
from colabkit.packages import stale
{code}
print(json.dumps([str(one) for one in stale()]))
"""


@pytest.fixture
def found(environment):
    """Run code in a new process of the environment, in which the user calls uv; return what is stale at its end."""
    from tests.support.kernels import find_uv

    def run(code):
        text = SCRIPT.format(uv=find_uv(), index=environment.index, code=code)
        return json.loads(environment.run("-c", text).splitlines()[-1])

    return run


def test_the_users_own_install_is_noticed(environment, found):
    """A loaded package that `!uv` or `!pip` replaced is found, though nobody told us."""
    environment.have("demo==1.0")
    assert found("import demo; uv('demo==2.0')") == ["demo 1.0 is loaded, 2.0 is installed"]


def test_pips_install_is_noticed(templates, modules, index, caches, tmp_path):
    """Pip moves the old files away before it deletes them; the answer is the same."""
    from tests.support.package_index import Environment, copy_environment

    path = copy_environment(templates / "pip", tmp_path / "env")
    environment = Environment(path, modules=modules, index=index, installer="pip", work=caches)
    environment.have("demo==1.0")
    code = (
        "import json, subprocess, sys, demo\n"
        "from colabkit.packages import stale\n"
        f"pip = [sys.executable, '-m', 'pip', 'install', '-q', '-i', {index!r}, 'demo==2.0']\n"
        "subprocess.run(pip, check=True)\n"
        "print(json.dumps([str(one) for one in stale()]))\n"
    )
    assert json.loads(environment.run("-c", code)) == ["demo 1.0 is loaded, 2.0 is installed"]


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        ("installed and then imported", "uv('demo==2.0'); import demo"),
        ("replaced before it was imported", "uv('demo==1.0'); uv('demo==2.0'); import demo"),
        ("replaced but never imported", "uv('demo==1.0'); uv('demo==2.0')"),
        ("the same version again", "uv('demo==1.0'); import demo; uv('--reinstall', 'demo==1.0')"),
        ("another package", "uv('demo==1.0'); import demo; uv('numpy==1.0')"),
        ("replaced and put back", "uv('demo==1.0'); import demo; uv('demo==2.0'); uv('demo==1.0')"),
    ],
)
def test_no_false_alarm(found, claim, code):
    """What is loaded and what is installed are the same."""
    assert found(code) == [], claim


def test_a_shared_namespace_is_nobodys(environment, wheels, found):
    """`google` is loaded and belongs to many: a new member of it makes no other stale."""
    for name, version in (("google-one", "1.0"), ("google-two", "1.0"), ("google-two", "2.0")):
        module = name.rpartition("-")[2]
        content = {f"google/{module}/__init__.py": f"def version():\n    return {version!r}\n"}
        write_wheel(wheels, name, version, files=content)
    environment.have("google-one", "google-two==1.0")
    assert found("import google.one; uv('google-two==2.0')") == []
    environment.have("google-two==1.0")
    assert found("import google.one, google.two; uv('google-two==2.0')") == [
        "google-two of another build is loaded, 2.0 is installed"
    ]


def test_a_module_that_vanished_is_stale(environment, wheels, found):
    """The new version has dropped a submodule that is loaded."""
    write_wheel(wheels, "shrinking", "1.0", files={"shrinking/__init__.py": "", "shrinking/old.py": "x = 1\n"})
    write_wheel(wheels, "shrinking", "2.0", files={"shrinking/__init__.py": "def new(): pass\n"})
    environment.have("shrinking==1.0")
    assert found("import shrinking.old; uv('shrinking==2.0')") != []


def test_reading_a_lazy_module_does_not_import(environment, wheels, found):
    """A module whose attributes import half a package when they are looked at is looked at without doing so."""
    content = {"lazy/__init__.py": "def __getattr__(name):\n    raise SystemExit('looked at ' + name)\n"}
    for version in ("1.0", "2.0"):
        write_wheel(wheels, "lazy", version, files={**content, "lazy/part.py": f"def f():\n    return {version}\n"})
    environment.have("lazy==1.0")
    assert found("import lazy.part; uv('lazy==2.0')") == ["lazy of another build is loaded, 2.0 is installed"]
