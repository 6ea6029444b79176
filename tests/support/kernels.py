"""The kernel sets that the restart is tested with, each a virtual environment made by uv.

python tests/support/kernels.py [NAME …]      builds those that are missing, all of them when none is named

The tests and CI use this one list. The folder is `COLABKIT_TEST_KERNELS`, by default `.kernels` beside the tests; a
test whose set is missing is skipped, and says the command that builds it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = "COLABKIT_TEST_KERNELS"
_RUNNERS = ("nbclient", "nbconvert", "papermill", "uv")
_HERE = Path(__file__).resolve().parent
_folder = Path(os.environ.get(FOLDER) or _HERE / ".kernels")  # read now: a test's home is not the user's
_cache = os.environ.get("UV_CACHE_DIR") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "uv")


@dataclass(frozen=True, kw_only=True)
class KernelSet:
    """One environment.

    Attributes:
        name: Its folder.
        packages: What it holds.
        numpy: The version it starts with.
    """

    name: str
    packages: tuple[str, ...]
    numpy: str

    @property
    def path(self) -> Path:
        """The environment's folder."""
        return _folder / self.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / "bin" / "python"

    @property
    def is_built(self) -> bool:
        """Whether it was built to the end, from this very list."""
        done = self.path / "colabkit-kernel-set.txt"
        return done.is_file() and done.read_text() == "\n".join(self.packages)

    def build(self) -> None:
        """Make the environment anew."""
        shutil.rmtree(self.path, ignore_errors=True)
        uv = find_uv()
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, self.path], check=True)
        self.install(*self.packages, *_RUNNERS, f"numpy=={self.numpy}")
        # jsonschema takes it where it is there, and each import then compiles a grammar for two seconds.
        subprocess.run([uv, "pip", "uninstall", "--quiet", "--python", self.python, "rfc3987-syntax"], check=True)
        (self.path / "colabkit-kernel-set.txt").write_text("\n".join(self.packages))

    @contextlib.contextmanager
    def held(self):
        """Keep it from the tests of other processes meanwhile: each changes its packages as it likes."""
        import fcntl  # not on Windows, where no set is built

        with open(self.path / "held.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield self

    def install(self, *requirements: str) -> None:
        """Install into it, past colabkit."""
        command = [find_uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", self.python, *requirements]
        subprocess.run(command, check=True, env=uv_environment())


SETS = {
    one.name: one
    for one in (
        KernelSet(
            name="colab",
            numpy="2.1.3",
            packages=(
                "debugpy==1.8.15",
                "ipykernel==6.17.1",
                "ipython==7.34.0",
                "ipywidgets==7.7.1",
                "jupyter_client==7.4.9",
                "nbclient==0.10.4",
                "notebook==6.5.7",
                "prompt_toolkit==3.0.53",
                "pyzmq==26.2.1",
                "setuptools==75.2.0",
                "tornado==6.5.7",
                "traitlets==5.7.1",
            ),
        ),
        KernelSet(
            name="kaggle",
            numpy="2.2.6",
            packages=("ipykernel==6.29.5", "ipywidgets==8.1.5", "jupyter_server==2.12.5"),
        ),
        KernelSet(name="newest", numpy="2.2.6", packages=("ipykernel>=7.4", "ipywidgets>=8.1.9", "jupyterlab>=4.6")),
    )
}


def find_uv() -> str:
    """Return the uv program, from PATH or from the package."""
    if found := shutil.which("uv"):
        return found
    import uv

    return uv.find_uv_bin()


def uv_environment() -> dict[str, str]:
    """Return the environment for a uv that asks the index: for a package once for all tests, for a Python never."""
    return {**os.environ, "UV_CACHE_DIR": str(_cache), "UV_PYTHON_DOWNLOADS": "never"}


def build_command(name: str) -> str:
    """Return the command that builds a set."""
    return f"{FOLDER}={_folder} python tests/support/kernels.py {name}"


if __name__ == "__main__":
    for name in sys.argv[1:] or SETS:
        if not SETS[name].is_built:
            print(f"building {SETS[name].path}: {', '.join(SETS[name].packages)}", flush=True)  # noqa: T201
            SETS[name].build()
