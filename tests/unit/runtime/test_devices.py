"""GPUs and TPUs from recorded device trees and recorded answers of nvidia-smi, given by a real program on PATH."""

from __future__ import annotations

import subprocess
import sys

import pytest

from colabkit.runtime import detect, devices

T4 = "Tesla T4, 15360, 550.54.15, 7.5, 3"
A100 = "NVIDIA A100-SXM4-40GB, 40960, 550.54.15, 8.0, 4"
L4 = "NVIDIA L4, 23034, 550.54.15, 8.9, 1"
H100 = "NVIDIA H100 80GB HBM3, 81559, 570.124.06, 9.0, 9000"


@pytest.fixture
def smi(tmp_path):
    """Make a nvidia-smi that prints what it is told, and return the environment that finds it."""

    def make(text, code=0):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "nvidia-smi"
        (folder / "answer").write_text(text)
        program.write_text(f'#!/bin/sh\ncat "$(dirname "$0")/answer"\nexit {code}\n')
        program.chmod(0o755)
        return {"PATH": str(folder), "HOME": str(tmp_path)}

    return make


@pytest.mark.parametrize(
    ("answer", "names", "capability", "gib"),
    [
        (T4, ["Tesla T4"], (7, 5), 15),
        (f"{T4}\n{T4}\n", ["Tesla T4"] * 2, (7, 5), 15),
        (A100, ["NVIDIA A100-SXM4-40GB"], (8, 0), 40),
        (L4, ["NVIDIA L4"], (8, 9), 22),
        (H100, ["NVIDIA H100 80GB HBM3"], (9, 0), 79),
    ],
)
def test_gpus(smi, tmp_path, answer, names, capability, gib):
    """Name, memory, driver and compute capability of the hosts' GPUs."""
    found = devices.detect(smi(answer), tmp_path).found
    assert [one.name for one in found] == names
    assert {(one.kind, one.compute_capability, one.memory // 1024**3) for one in found} == {("gpu", capability, gib)}
    assert all(one.driver for one in found)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("No devices were found\n", 6, "nvidia-smi failed (No devices were found)"),
        ("Failed to initialize NVML: Driver/library version mismatch\n", 18, "version mismatch"),
        ("", 9, "nvidia-smi failed (exit code 9)"),
        ("\x00garbage, of, some\n", 0, "nvidia-smi lists 0"),
    ],
)
def test_nvidia_smi_fails(smi, tmp_path, answer, code, words):
    """A driver that does not answer gives no GPU, and its own words are told."""
    looked = devices.detect(smi(answer, code), tmp_path)
    assert looked.found == ()
    assert words in looked.evidence


def test_nvidia_smi_hangs(smi, tmp_path, monkeypatch):
    """A driver that hangs is given up after the limit."""
    env = smi("")
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(devices, "NVIDIA_SMI_TIMEOUT", 0.2)
    looked = devices.detect(env, tmp_path)
    assert looked.found == ()
    assert "longer than 0.2 s" in looked.evidence


def test_memory_that_is_shared(smi, tmp_path):
    """A GPU that shares the machine's memory has no figure of its own."""
    (gpu,) = devices.detect(smi("NVIDIA GB10, [N/A], 580.95.05, 12.1, [N/A]"), tmp_path).found
    assert (gpu.memory, gpu.compute_capability) == (None, (12, 1))


def test_device_file_without_the_program(tmp_path):
    """A container without nvidia-smi may still have the device: a GPU is there, its name is not known."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    (tmp_path / "dev/nvidiactl").touch()
    looked = devices.detect({"PATH": ""}, tmp_path)
    assert [one.name for one in looked.found] == ["NVIDIA GPU"]
    assert "/dev/nvidia0 is there" in looked.evidence


def test_tpu_by_pci(tmp_path):
    """Without any variable, Google's numbers on the PCI bus tell which TPU it is."""
    for name in ("dev/accel0", "dev/accel1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    device = tmp_path / "sys/bus/pci/devices/0000:00:05.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1ae0\n")
    (device / "device").write_text("0x006f\n")
    found = devices.detect({}, tmp_path).found
    assert [(one.name, one.memory // 1024**3) for one in found] == [("TPU v6e", 32)] * 2


def test_other_vendors_are_no_tpu(tmp_path):
    """/dev/accel0 of another vendor, and a device handed to a guest by vfio, are not taken for TPUs."""
    (tmp_path / "dev/vfio").mkdir(parents=True)
    (tmp_path / "dev/vfio/12").touch()
    looked = devices.detect({}, tmp_path)
    assert looked.found == ()
    assert "is not a TPU" in looked.evidence


def test_asked_once_and_only_when_needed(smi, tmp_path):
    """detect() does not start nvidia-smi; reading .accelerators starts it once."""
    env = smi(T4)
    log = tmp_path / "log"
    (tmp_path / "bin/nvidia-smi").write_text(f'#!/bin/sh\necho x >> {log}\necho "{T4}"\n')
    runtime = detect(env=env, root=tmp_path, cwd=tmp_path)
    assert not log.exists()
    assert [len(runtime.accelerators), len(runtime.accelerators), log.read_text()] == [1, 1, "x\n"]


def test_detect_imports_nothing_heavy():
    """In a fresh interpreter detect() loads neither a framework nor what makes an import slow."""
    code = "import sys, colabkit; colabkit.detect(); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    heavy = {"tensorflow", "jax", "torch", "keras", "numpy", "IPython", "google.colab"}
    slow = {"dataclasses", "inspect", "subprocess", "logging", "typing", "json", "asyncio"}
    assert loaded & heavy == set()
    if sys.version_info < (3, 12):  # later versions load some of these for pathlib
        assert loaded & slow == set()
