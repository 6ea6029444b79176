"""A package index with a few packages, and fresh environments for either installer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.kernels import find_uv
from tests.support.package_index import Environment, colabkit_alone, copy_environment, serve, write_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """The folder of wheels that the index serves."""
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        write_wheel(folder, "demo", version)
        write_wheel(folder, "numpy", version)
        write_wheel(folder, "torch", version, requires=[f"numpy=={version}"])
        write_wheel(folder, "traitlets", version)
    write_wheel(folder, "ipykernel", "1.0", requires=["traitlets<2"])
    write_wheel(folder, "needs-old-demo", "1.0", requires=["demo<2"])
    write_wheel(folder, "wants-new-demo", "1.0", requires=["demo>=2"])
    write_wheel(folder, "wants-new-numpy", "1.0", requires=["numpy>=2"])
    write_wheel(folder, "wants-new-traitlets", "1.0", requires=["traitlets>=2"])
    write_wheel(folder, "extras", "1.0", requires=['demo; extra == "more"', 'absent; python_version < "3"'])
    write_wheel(folder, "for-the-future", "1.0", python=">=4")
    write_wheel(folder, "only-for-python-2", "1.0", tag="cp27-cp27m-manylinux1_x86_64")
    return folder


@pytest.fixture(scope="session")
def index(wheels):
    """The address of the index."""
    with serve(wheels) as address:
        yield address


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """One empty environment for each installer; pip's has a pip, and nothing that brings uv."""
    folder = tmp_path_factory.mktemp("templates")
    subprocess.run([find_uv(), "venv", "-q", "--python", sys.executable, folder / "uv"], check=True)
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", folder / "pip"], check=True)
    return folder


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """A folder with colabkit and packaging alone."""
    return colabkit_alone(tmp_path_factory.mktemp("modules"))


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """A folder for the installers' caches: the packages of the tests must not meet those of the world."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(params=["uv", "pip"])
def either(request, templates, modules, index, caches, tmp_path):
    """A fresh environment, once with uv and once with pip."""
    path = copy_environment(templates / request.param, tmp_path / "env")
    return Environment(path, modules=modules, index=index, installer=request.param, work=caches)


@pytest.fixture
def environment(templates, modules, index, caches, tmp_path):
    """A fresh environment with uv."""
    path = copy_environment(templates / "uv", tmp_path / "env")
    return Environment(path, modules=modules, index=index, installer="uv", work=caches)
