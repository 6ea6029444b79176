"""Installing colabkit, and each of its extras, changes no package of Colab's and Kaggle's images."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from colabkit.packages.request.requirement import normal
from tests.support.kernels import find_uv, uv_environment

ROOT = Path(__file__).parents[3]
LISTS = ("pip-freeze.txt", "pip-freeze.gpu.txt")
TPUS = "pip-freeze.tpu.txt"
"""It ships no TensorFlow, so only what needs none is held against it."""
COLABS_PYTHON = "3.13"
KAGGLES = "kaggle.txt"
KAGGLES_PYTHON = "3.12"
FOR_DEVELOPERS = {"test"}
FROM_OUTSIDE = {
    "fastai": ("torch", "torchvision"),
    "lightning": ("torch",),
    "torch": ("torch",),
    "transformers": ("torch",),
}
"""What an extra needs and the images have from outside the index: these take any torch from 2.1 to below 3."""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# What fits the image together fits it one by one: an extra that is wholly in `all` needs no resolution of its own.
ALONE = [
    "",
    "all",
    *sorted(name for name in set(EXTRAS) - FOR_DEVELOPERS if not set(EXTRAS[name]) <= set(EXTRAS["all"])),
]

pytestmark = pytest.mark.slow


def image(name):
    """Return what an image has: versions of an index, and the names that came from elsewhere."""
    lines = (Path(__file__).with_name("data") / name).read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    pinned = dict(line.split("==") for line in packages if "==" in line)
    elsewhere = {normal(line.partition(" @ ")[0]) for line in packages if " @ " in line}
    assert len(pinned) > 250
    return {normal(package): version for package, version in pinned.items()}, elsewhere


def resolve(extra, constraints, python=COLABS_PYTHON):
    """Resolve colabkit with an extra for the image's Python; return names and versions."""
    overrides = constraints.with_name("overrides.txt")
    overrides.write_text("".join(f"{name}; sys_platform == 'none'\n" for name in FROM_OUTSIDE.get(extra, ())))
    command = [find_uv(), "pip", "compile", "--quiet", "--no-header", "--no-annotate", ROOT / "pyproject.toml"]
    command += ["--python-version", python, "--python-platform", "x86_64-manylinux_2_35"]
    command += ["--constraint", constraints, "--override", overrides, *(["--extra", extra] if extra else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=uv_environment())
    assert done.returncode == 0, f"it does not fit the image:\n{done.stderr}"
    return {normal(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE)}


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        *((name, extra) for name in LISTS for extra in ALONE),
        *((name, extra) for name in (TPUS, KAGGLES) for extra in ("", "hf")),
        (KAGGLES, "all"),
    ],
)
def test_nothing_of_the_image_changes(tmp_path, name, extra):
    """Under the image's versions as constraints there is a solution, and it moves none of them."""
    pinned, elsewhere = image(name)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("".join(f"{package}=={version}\n" for package, version in pinned.items()))
    resolved = resolve(extra, constraints, KAGGLES_PYTHON if name == KAGGLES else COLABS_PYTHON)
    assert {"gdown", "google-cloud-storage", "kagglesdk", "packaging", "requests", "tqdm"} <= resolved.keys()
    moved = {package: version for package, version in resolved.items() if pinned.get(package, version) != version}
    assert moved == {}
    assert resolved.keys() & elsewhere == set(), "the image has these from outside the index"


@pytest.mark.parametrize("name", LISTS)
def test_the_check_can_fail(tmp_path, name):
    """A constraint that our floors do not allow is seen: `requests` is older than we need."""
    pinned, _elsewhere = image(name)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"requests==2.20.0\npackaging=={pinned['packaging']}\n")
    with pytest.raises(AssertionError, match="does not fit the image"):
        resolve("", constraints)
