"""What `colab usage` and `kaggle quota` tell is read where they are installed and signed in, and only when asked."""

import json
import os
import sys
import time

import pytest

from colabkit.cli import main
from colabkit.diagnosis import doctor
from colabkit.runtime import detect, quota

COLAB = "Current balance: 20.00 compute units\nUsage rate: 2.50/hr\nActive assignments: 1"
KAGGLE = json.dumps(
    [
        {
            "resource": name,
            "used": "29.75h",
            "remaining": left,
            "total": "30.00h",
            "refreshAt": "2026-12-05T00:00:00+00:00",
        }
        for name, left in (("GPU", "0.25h"), ("TPU", "20.00h"))
    ]
)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return what puts a command on PATH that prints something; `calls` counts its calls."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")

    def install(name, prints, *, code=0, sleeps=0):
        path = tmp_path / name
        (tmp_path / f"{name}.txt").write_text(prints)
        path.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.calls\nsleep {sleeps}\ncat {tmp_path}/{name}.txt\nexit {code}\n'
        )
        path.chmod(0o755)
        return tmp_path / f"{name}.calls"

    return install


def test_kaggle_tells_its_hours(command, monkeypatch, capsys):
    """Asked as its command wants it; `--quota` puts it into the object and the page, a plain detect asks nobody."""
    calls = command("kaggle", KAGGLE)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_x")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert "quotas" not in detect().to_json()
    assert not calls.exists()
    assert main(["detect", "--json", "--quota"]) == 0
    told = json.loads(capsys.readouterr().out)["quotas"]
    assert [(one["what"], one["left"], one["total"], one["host"]) for one in told] == [
        ("GPU", 0.25, 30.0, "kaggle"),
        ("TPU", 20.0, 30.0, "kaggle"),
    ]
    assert calls.read_text() == "quota --format json\n"
    runtime = detect()
    assert runtime.quotas == runtime.quotas
    assert "left         0.2 of 30.0 h of Kaggle's GPU left, renewed 2026-12-05 00:00" in str(runtime)
    assert len(calls.read_text().splitlines()) == 2


def test_the_doctor_says_what_is_nearly_used_up(command, monkeypatch):
    """A warning for the GPU hours, none for the TPU's, which are not."""
    command("kaggle", KAGGLE)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_x")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    told = [one for one in doctor().findings if "account's" in one.what]
    assert [(one.severity, one.what) for one in told] == [
        ("warning", "little is left of this account's GPU: 0.2 hours"),
    ]


def test_colab_tells_compute_units(command, tmp_path, monkeypatch):
    """The balance, and how many hours it lasts at the rate of now; no rate, no hours."""
    command("colab", COLAB)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    assert [(one.left, one.hours_left, str(one)) for one in detect().quotas] == [
        (20.0, 8.0, "20.00 compute units of Colab, 8.0 h at the rate of now")
    ]
    command("colab", "Current balance: 0.00 compute units\nUsage rate: 0.00/hr\nActive assignments: 0")
    assert [(one.left, one.hours_left) for one in detect().quotas] == [(0.0, None)]


@pytest.mark.parametrize("prints", ["", "[", "No quota information available", '[1, {"resource": "GPU"}]', '{"a": 1}'])
def test_words_that_are_not_understood_tell_nothing(command, monkeypatch, prints):
    """Another version of the command may say something else: nothing is guessed, nothing raised."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_x")
    command("kaggle", prints)
    assert detect().quotas == ()


def test_a_command_that_fails_is_slow_or_has_no_login_tells_nothing(command, monkeypatch):
    """It is not run without a login, and ended at its limit."""
    calls = command("kaggle", KAGGLE)
    assert detect().quotas == ()
    assert not calls.exists()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_x")
    command("kaggle", KAGGLE, code=1)
    assert detect().quotas == ()
    command("kaggle", KAGGLE, sleeps=30)
    monkeypatch.setattr(quota, "TIME_LIMIT", 0.2)
    begun = time.monotonic()
    assert detect().quotas == ()
    assert time.monotonic() - begun < 20


def test_a_host_asks_its_own_command_alone(command, monkeypatch, tmp_path):
    """On Kaggle's machine Colab's command is not run."""
    calls = command("colab", COLAB)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert detect().quotas == ()
    assert not calls.exists()


def test_importing_loads_nothing_of_it():
    """Neither the import nor a plain detect loads the module."""
    code = "import sys, colabkit; colabkit.detect(); print('colabkit.runtime.quota' in sys.modules)"
    import subprocess

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
