"""What every host must keep: a new host's test is a subclass with its recorded machine and its short name."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from colabkit.runtime import detect

SUBPROCESS = """
import json, sys
from pathlib import Path
from colabkit.runtime import detect
runtime = detect(root=Path(sys.argv[1]))
print(json.dumps([runtime.host, list(runtime.evidence)]))
"""


class HostContract:
    """Inherit, and set `machine`, `host` and the folder that lasts."""

    machine = None
    host = ""
    lasts: str | None = None

    @pytest.fixture
    def runtime(self, tmp_path):
        """Return what was detected on the recorded machine."""
        return self.machine.detect(tmp_path)

    def test_recognised(self, runtime):
        """The recorded machine is recognised."""
        assert runtime.host == self.host

    def test_evidence_can_be_checked(self, runtime, tmp_path):
        """Each piece of evidence names a variable that is set or a file that exists."""
        assert runtime.evidence
        for words in runtime.evidence:
            name = words.split("=")[0].split(" ")[0]
            known = name in self.machine.env or (tmp_path / name.lstrip("/")).exists()
            assert known or words.startswith(("machine kind", "no mark", "a plain")), words

    def test_no_secret_shown(self, runtime):
        """Tokens of the environment appear neither in the text, nor in the JSON, nor in repr."""
        shown = f"{runtime} {runtime!r} {json.dumps(runtime.to_json())}"
        assert "a-secret-token" not in shown

    def test_right_in_a_subprocess(self, tmp_path):
        """A `!python` subprocess, which has the variables and files but no shell, comes to the same host."""
        root = self.machine.build(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", SUBPROCESS, str(root)],
            env={"PATH": "/usr/bin:/bin", **self.machine.env},
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout)[0] == self.host

    def test_nothing_without_its_marks(self, tmp_path):
        """The same files without the variables are not taken for this host."""
        machine = self.machine
        bare = detect(env={"HOME": "/home/someone"}, root=machine.build(tmp_path), cwd=tmp_path)
        assert bare.host in ("local", "sagemaker" if "metadata" in str(machine.files) else "local")

    def test_what_lasts(self, runtime, tmp_path):
        """The folder that is still there in the next session is the one users of this host know."""
        expected = None if self.lasts is None else self.lasts.replace("ROOT", str(tmp_path))
        assert (None if runtime.persistent_dir is None else str(runtime.persistent_dir)) == expected

    def test_plain_values(self, runtime):
        """The JSON form holds every field and survives a round trip."""
        value = json.loads(json.dumps(runtime.to_json()))
        assert value["host"] == self.host
        assert value["evidence"] == list(runtime.evidence)
        assert set(value) >= {"frontend", "python", "image", "cpus", "memory", "disk", "accelerators", "work_dir"}
