"""Environments to set up: an index of wheels, a data server, and colabkit with what a download needs."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import requests

from colabkit.testing.http import FaultServer
from tests.support.package_index import Environment, copy_environment, serve
from tests.unit.packages.conftest import caches, index, modules, templates, wheels  # noqa: F401 - fixtures

CALL = """
import json, sys
from colabkit.errors import ColabKitError
from colabkit.setup_file import setup
file, arguments, before = json.loads(sys.argv[1])
exec(before)
try:
    said = setup(file, **arguments).to_json()
except ColabKitError as error:
    notes = getattr(error, "__notes__", [])
    said = {"error": type(error).__name__, "what": error.what, "why": error.why, "do": error.do, "notes": notes}
print(json.dumps(said))
"""


class Machine(Environment):
    """A Python of its own that is set up from outside."""

    def setup(self, file=None, *, before="", **arguments):
        """Run our setup in a new process; return its summary or its error as plain values."""
        given = json.dumps([None if file is None else str(file), arguments, before])
        return json.loads(self.run("-c", CALL, given).splitlines()[-1])


@pytest.fixture
def machine(templates, modules, index, caches, tmp_path):  # noqa: F811 - the fixtures imported above
    """A fresh environment whose index has a few packages and whose Python sees what a download needs."""
    return make_machine(templates, modules, index, caches, tmp_path)


@pytest.fixture
def meeting(templates, modules, wheels, caches, tmp_path):  # noqa: F811
    """A machine whose index waits for the data to be asked for before it gives a wheel, and notes whether it was.

    The plan needs a wheel's metadata, at a time when nobody asks for data yet: so it does not wait for ever.
    """
    asked, met = threading.Event(), []
    with serve(wheels, before_wheel=lambda: met.append(asked.wait(2))) as address:
        machine = make_machine(templates, modules, address, caches, tmp_path)
        machine.env["UV_NO_CACHE"] = "1"
        yield machine, asked, met


def make_machine(templates, modules, address, caches, folder):  # noqa: F811
    """Copy an environment with uv and point it to an index."""
    path = copy_environment(templates / "uv", folder / "env")
    machine = Machine(path, modules=modules, index=address, installer="uv", work=caches)
    machine.env["PYTHONPATH"] += f":{Path(requests.__file__).parents[1]}"
    machine.env |= {"UV_DEFAULT_INDEX": address, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    return machine


@pytest.fixture
def server():
    """A data server."""
    with FaultServer() as running:
        yield running
