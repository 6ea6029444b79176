"""What cannot be installed says why in a typed error, and leaves every file of the environment as it was."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

NOWHERE = "http://127.0.0.1:9/simple"  # nothing listens on the port "discard"


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ("not a (requirement", "RequirementError"),
        ("!pip install demo --config-settings=a=b", "RequirementError"),
        ("!pip install -c no-such-constraints.txt demo", "NotFoundError"),
        ("!pip uninstall -y demo", "RequirementError"),
        ("!apt install demo", "RequirementError"),
        ("!pip install {name}", "RequirementError"),
        ("!pip install 'demo", "RequirementError"),
        ("demo @ git@example.org:demo/demo.git", "RequirementError"),
        ("https://github.com/demo/demo", "RequirementError"),
        ("./no-such-folder", "NotFoundError"),
        ("-e .", "RequirementError"),
        ("--target=/", "RequirementError"),
        ("demo\n--index-url http://evil.example/simple", "RequirementError"),
        ("demo @ https://me:hush@example.org/demo-1.0-py3-none-any.whl", "RequirementError"),
        ("", "RequirementError"),
        ("requirements-that-are-not-there.txt", "NotFoundError"),
        ("no-such-package", "PackageNotFoundError"),
        ("demo==99", "PackageNotFoundError"),
    ],
)
def test_a_bad_requirement_changes_nothing(either, wish, error):
    """Each kind has its own error with a next step."""
    either.have("demo==1.0")
    before = either.freeze()
    said = either.install(wish)
    assert said["error"] == error
    assert said["do"]
    assert "hush" not in str(said)
    assert either.freeze() == before


@pytest.mark.parametrize("wish", ["for-the-future", "only-for-python-2"])
def test_no_file_for_this_python(environment, wish):
    """A package whose files are all for other Pythons is told from one that does not exist."""
    before = environment.freeze()
    said = environment.install(wish)
    assert said["error"] == "NoWheelError"
    assert "this Python" in said["what"] or "no wheel for Python" in said["what"]
    assert environment.freeze() == before


def test_no_network(either):
    """Out of reach is not "no such package"."""
    before = either.freeze()
    said = either.install("demo", index_url=NOWHERE)
    assert said["error"] == "OfflineError"
    assert either.freeze() == before


@pytest.mark.parametrize(("variable", "content"), [("CONSTRAINT", None), ("CONSTRAINT", "not a [ requirement\n")])
def test_a_broken_constraint_variable(either, tmp_path, variable, content):
    """A constraint file of the image that is missing or broken makes every install fail: the variable is named."""
    file = tmp_path / "constraint.txt"
    if content is not None:
        file.write_text(content)
    name = f"{either.installer.upper()}_{variable}"
    either.env[name] = str(file)
    before = either.freeze()
    said = either.install("demo")
    assert said["error"] == "InstallerError"
    assert "constraint.txt" in said["what"] + said["why"]
    assert either.freeze() == before


def test_no_installer_at_all(environment):
    """Neither uv nor pip: the error says how to get one."""
    environment.env["PATH"] = "/nonexistent"
    before = environment.freeze()
    said = environment.install("demo")
    assert said["error"] == "InstallerError"
    assert "ensurepip" in said["do"]
    assert environment.freeze() == before


def test_a_python_of_the_operating_system(either, tmp_path):
    """PEP 668: the distributor's own words are passed on, and nothing is broken open on our own."""
    marker = tmp_path / "stdlib" / "EXTERNALLY-MANAGED"
    marker.parent.mkdir()
    marker.write_text("[externally-managed]\nError=Ask the keeper of this machine.\n")
    pretend = [
        "import sysconfig; old = sysconfig.get_path",
        f"sysconfig.get_path = lambda name: {str(marker.parent)!r} if name == 'stdlib' else old(name)",
        "sys.base_prefix = sys.prefix",
    ]
    before = either.freeze()
    said = either.install("demo", before=pretend)
    assert said["error"] == "SiteError"
    assert said["why"] == "Ask the keeper of this machine."
    assert either.freeze() == before


@pytest.mark.skipif(
    not Path(
        sysconfig.get_path("stdlib", "posix_prefix", vars={"installed_base": "/usr"}), "EXTERNALLY-MANAGED"
    ).exists()
    or not os.access("/usr/bin/python3", os.X_OK),
    reason="no system Python of this version with PEP 668's mark",
)
def test_the_systems_real_python(environment):
    """Debian's own Python refuses, through the real marker."""
    environment.python = Path("/usr/bin/python3")
    said = environment.install("no-such-package-anyway")
    assert said["error"] == "SiteError"
    assert "PEP 668" in said["what"]


def test_a_read_only_site(either):
    """A folder that refuses to be written is found before anything is asked or changed."""
    either.have("demo==1.0")
    before = either.freeze()
    site = next((either.path / "lib").glob("python*/site-packages"))
    site.chmod(0o555)
    try:
        said = either.install("demo==2.0", prefix=obeying_permissions())
    finally:
        site.chmod(0o755)
    assert said["error"] == "SiteError"
    assert str(site) in said["what"]
    assert either.freeze() == before


def obeying_permissions():
    """The prefix of a command that obeys permissions: root writes everywhere unless it gives that up first."""
    if os.geteuid() != 0:
        return []
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24\n"
        "if libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):\n"
        "    sys.exit('cannot give up a capability')\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    return [sys.executable, "-c", code]


def test_an_empty_call(environment):
    """install() without a package says how it is meant."""
    assert environment.install()["error"] == "RequirementError"


def test_an_unknown_way_to_restart(environment):
    """A misspelt option names those that exist."""
    said = environment.install("demo", restart="sometimes")
    assert said["error"] == "UnknownNameError"
    assert "auto, never, ask" in said["do"]
