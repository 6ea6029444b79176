"""The steps of `.ci/run`, one by one: `nox -l` lists them, `nox -s quick` runs the quick tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "quick"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, layers, conflict marks."""
    session.install("-e", ".[all,test]")
    session.run("python", "tests/unit/docs/conflict_marks.py")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session(python=["3.11", "3.12", "3.13"])
def quick(session: nox.Session) -> None:
    """The README's test command."""
    session.install("-e", ".[all,test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The slow tests: real kernels, browsers, kills."""
    session.install("-e", ".[all,test]")
    session.run("pytest", "-n", "2", "-m", "slow", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Lines that the quick tests run, in their own process."""
    session.install("-e", ".[all,test]", "coverage>=7.6")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "report", "--skip-covered", "--sort=cover")


@nox.session
def supply(session: nox.Session) -> None:
    """What is shipped: a wheel that comes out alike twice, its list of parts, and what is known against them.

    It asks PyPI for packages and for their known faults; dist/sbom.json is CycloneDX, with licences. The wheel has an
    environment of its own, so that the tools of this session are no part of the list.
    """
    session.install("build>=1.2", "pip-audit>=2.7", "cyclonedx-bom>=5", "uv>=0.5")
    hashes = set()
    for folder in ("dist/one", "dist/two"):
        session.run("python", "-m", "build", "--outdir", folder, env={"SOURCE_DATE_EPOCH": "1704067200"})
        hashes.add(tuple(_hash(path) for path in sorted(Path(folder).iterdir())))
    if len(hashes) != 1:
        session.error("two builds of one tree differ")
    shipped = Path(session.create_tmp(), "shipped")
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(shipped))
    python = str(shipped / "bin" / "python")
    session.run("uv", "pip", "install", "-q", "-p", python, *map(str, Path("dist/one").glob("*.whl")))
    session.run("cyclonedx-py", "environment", "--output-file", "dist/sbom.json", python)
    parts = session.run(python, "-c", "import site; print(site.getsitepackages()[0])", silent=True, external=True)
    session.run("pip-audit", "--strict", "--path", str(parts).strip())


@nox.session
def floors(session: nox.Session) -> None:
    """The oldest versions that pyproject.toml allows: what needs no framework imports, and its tests pass."""
    session.install("uv>=0.5")
    extras = ".[7z,drive,gcs,hf,mlflow,panel,run,track]"
    tools = [
        "pytest>=8.2",
        "hypothesis>=6.100",
        "safetensors>=0.5",
        "trustme>=1.1",
        "zstandard>=0.22",
        "numpy>=1.26",
        "matplotlib>=3.7",
    ]
    python = str(Path(session.virtualenv.location, "bin", "python"))
    session.run("uv", "pip", "install", "-p", python, "--resolution", "lowest-direct", extras, *tools)
    folders = [
        "tests/unit/internal",
        "tests/unit/port",
        "tests/unit/headless/test_run.py",
        "tests/service/storage/test_gcs.py",
    ]
    options = ["-q", "-m", "not slow", "-W", "default", "-o", "addopts=--import-mode=importlib"]
    session.run("python", "-m", "pytest", *options, *folders)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, every warning an error."""
    session.install("-e", ".[all,test]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
