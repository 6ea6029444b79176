"""lock() and its way back."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.kernels import find_uv


def lock(environment, path, before=""):
    """Write a lock in a process of the environment."""
    environment.run("-c", f"{before}\nfrom colabkit.packages import lock; lock({str(path)!r})")
    return path.read_text()


def test_a_lock_is_a_requirements_file_with_a_header(environment, tmp_path):
    """The header says what it was written on; below stands every package, sorted."""
    environment.have("numpy==1.0", "demo==2.0")
    lines = lock(environment, tmp_path / "my.lock").splitlines()
    assert lines[0] == "# colabkit lock 1"
    assert [line.partition(":")[0] for line in lines[1:4]] == ["# python", "# image", "# platform"]
    assert lines[-2:] == ["demo==2.0", "numpy==1.0"]


def test_pip_and_uv_read_it_without_us(either, tmp_path):
    """Restored by the plain installers, the environment is the same."""
    either.have("numpy==1.0", "demo==1.0")
    lock(either, tmp_path / "my.lock")
    either.have("demo==2.0", "numpy==2.0")
    command = {
        "uv": [find_uv(), "pip", "install", "--python", either.python, "--default-index", either.index],
        "pip": [either.python, "-m", "pip", "install", "--index-url", either.index],
    }[either.installer]
    subprocess.run([*command, "-r", tmp_path / "my.lock"], check=True, env=either.env, capture_output=True)
    assert {"demo==1.0", "numpy==1.0"} <= set(either.freeze()[0])


def test_install_restores_it_and_says_what_differs(environment, tmp_path):
    """The packages come back, and another Python or image is named."""
    environment.have("numpy==1.0", "demo==1.0")
    path = tmp_path / "my.lock"
    path.write_text(lock(environment, path).replace("# python: 3", "# python: 2"))
    environment.have("demo==2.0")
    said = environment.install(str(path))
    assert said["changed"] == [{"name": "demo", "before": "2.0", "after": "1.0"}]
    assert len(said["differs"]) == 1
    assert "was written with python 2." in said["differs"][0]


def test_restoring_leaves_the_running_kernel_alone(environment, tmp_path):
    """A lock from another image lists another kernel: those lines are left out, and said."""
    environment.have("traitlets==1.0", "demo==1.0")
    path = tmp_path / "my.lock"
    lock(environment, path)
    environment.have("traitlets==2.0", "demo==2.0")
    said = environment.install(str(path))
    assert said["changed"] == [{"name": "demo", "before": "2.0", "after": "1.0"}]
    assert said["skipped"] == ["traitlets==1.0: the running kernel keeps its own"]
    path.write_text("ipykernel==1.0\n")
    environment.have("ipykernel==1.0", "--no-deps")  # whose own traitlets is another one
    assert environment.install(str(path))["skipped"] == []


def test_an_address_is_kept_and_a_local_file_is_only_told(environment, wheels, tmp_path):
    """What has no index: an address is restored from there, a file of this machine stands as a comment."""
    address = environment.index.removesuffix("/simple") + "/files/demo-1.0-py3-none-any.whl"
    environment.have(f"demo @ {address}", str(wheels / "numpy-1.0-py3-none-any.whl"))
    text = lock(environment, tmp_path / "my.lock")
    assert f"\ndemo @ {address}\n" in text
    assert "\n# numpy==1.0: from file://" in text
    assert environment.install(str(tmp_path / "my.lock"))["changed"] == []


def test_credentials_in_an_address_are_not_written(environment, tmp_path):
    """A lock is shared: a token in it would be lost to everyone."""
    environment.have("demo==1.0")
    info = next((environment.path / "lib").rglob("demo-1.0.dist-info"))
    (info / "direct_url.json").write_text(json.dumps({"url": "https://me:hush@x.org/demo.whl", "archive_info": {}}))
    assert "hush" not in lock(environment, tmp_path / "my.lock")


@pytest.mark.parametrize("header", ["", "# colabkit lock 1\n# python\n# platform\n", "# something else\n# image: x\n"])
def test_a_header_that_is_damaged_or_foreign_says_nothing(environment, tmp_path, header):
    """Only the packages count then."""
    path = tmp_path / "my.txt"
    path.write_text(f"{header}demo==1.0\n")
    said = environment.install(str(path))
    assert (said["differs"], [one["name"] for one in said["changed"]]) == ([], ["demo"])
