"""Every host, recognised from a recorded machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from colabkit.runtime import HOSTS, detect
from colabkit.runtime.hosts.services import ROWS
from tests.unit.runtime import recorded
from tests.unit.runtime.contract import HostContract


class TestKaggle(HostContract):
    """An interactive CPU session."""

    machine, host, lasts = recorded.KAGGLE, "kaggle", "ROOT/kaggle/working"

    def test_before_colab(self, runtime):
        """A Kaggle machine carries Colab's release tag and even its host file, and is still Kaggle."""
        assert "COLAB_RELEASE_TAG" in self.machine.env
        assert runtime.host == "kaggle"

    def test_image(self, runtime):
        """The image is named and dated."""
        assert runtime.image == "gcr.io/kaggle-images/python@sha256:0123"
        assert runtime.image_date == "2026-08-30"


class TestKaggleTpu(HostContract):
    """A session with a v5e-8."""

    machine, host, lasts = recorded.KAGGLE_TPU, "kaggle", "ROOT/kaggle/working"

    def test_eight_chips(self, runtime):
        """v5litepod-8 with eight device files is eight v5e chips, and the session is limited to 9 hours."""
        assert [one.name for one in runtime.accelerators] == ["TPU v5e"] * 8
        assert runtime.max_session_hours == 9

    def test_silently_absent(self, tmp_path):
        """Kaggle sometimes gives no TPU although one was asked for: nothing is reported, and the words say so."""
        machine = dataclasses.replace(self.machine, files=recorded.KAGGLE.files)
        runtime = machine.detect(tmp_path)
        assert runtime.accelerators == ()
        assert "although TPU_ACCELERATOR_TYPE is set" in runtime.devices.evidence


class TestColab(HostContract):
    """A CPU machine."""

    machine, host, lasts = recorded.COLAB, "colab", None

    def test_facts(self, runtime):
        """The image's day comes from the release tag, the session's age from process 1, the work folder is /content."""
        assert (runtime.image, runtime.image_date) == (recorded.COLAB_TAG, "2026-08-25")
        assert runtime.session_age == pytest.approx(7200)
        assert runtime.work_dir.name == "content"
        assert runtime.ephemeral
        assert (runtime.max_session_hours, runtime.idle_minutes) == (12, 90)

    @pytest.mark.parametrize("place", ["content/drive", "content/gdrive"])
    def test_drive_lasts_when_mounted(self, tmp_path, monkeypatch, place):
        """With Drive mounted, also where older notebooks mount it, what lasts is MyDrive."""
        table = tmp_path / "mounts"
        table.write_text(f"drive {tmp_path}/{place} fuse.drive rw 0 0\n")
        monkeypatch.setattr("colabkit.runtime.mounts.TABLE", str(table))
        assert self.machine.detect(tmp_path).persistent_dir == tmp_path / place / "MyDrive"

    def test_a_folder_that_a_cell_made_is_no_drive(self, tmp_path):
        """What `os.makedirs("/content/drive/MyDrive/run")` makes before the mount goes with the machine."""
        machine = dataclasses.replace(self.machine, folders=(*self.machine.folders, "/content/drive/MyDrive"))
        assert machine.detect(tmp_path).persistent_dir is None

    def test_credentials_are_no_mark_of_kaggle(self, tmp_path):
        """A user's Kaggle key on Colab does not make it Kaggle."""
        keys = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "k", "KAGGLE_API_TOKEN": "t"}
        machine = dataclasses.replace(self.machine, env={**self.machine.env, **keys})
        assert machine.detect(tmp_path).host == "colab"

    def test_kagglehub_input_folder_is_no_mark(self, tmp_path):
        """The folder /kaggle/input, which kagglehub mounts on Colab, does not make it Kaggle."""
        machine = dataclasses.replace(self.machine, folders=(*self.machine.folders, "/kaggle/input"))
        assert machine.detect(tmp_path).host == "colab"


class TestColabGpu(HostContract):
    """A T4 machine."""

    machine, host, lasts = recorded.COLAB_GPU, "colab", None

    def test_machine_kind(self, runtime):
        """The machine's name tells its kind even before nvidia-smi is asked."""
        assert "machine kind gpu-t4" in runtime.evidence


class TestColabTpu(HostContract):
    """A v5e-1 machine."""

    machine, host, lasts = recorded.COLAB_TPU, "colab", None

    def test_one_chip(self, runtime):
        """v5e-1 with one vfio device is one chip with its 16 GiB; the control file /dev/vfio/vfio is not counted."""
        (chip,) = runtime.accelerators
        assert (chip.kind, chip.name, chip.memory) == ("tpu", "TPU v5e", 16 * 1024**3)


class TestColabEnterprise(HostContract):
    """Colab's image on Google Cloud."""

    machine, host, lasts = recorded.COLAB_ENTERPRISE, "colab_enterprise", None


class TestVertexWorkbench(HostContract):
    """An instance."""

    machine, host, lasts = recorded.VERTEX_WORKBENCH, "vertex_workbench", "/home/jupyter"


class TestStudioLab(HostContract):
    """A free session."""

    machine, host, lasts = recorded.STUDIO_LAB, "studio_lab", "ROOT/home/studio-lab-user"


class TestSageMaker(HostContract):
    """Studio."""

    machine, host, lasts = recorded.SAGEMAKER, "sagemaker", "/home/sagemaker-user"


class TestSageMakerJob(HostContract):
    """A training job's container."""

    machine, host, lasts = recorded.SAGEMAKER_JOB, "sagemaker", "ROOT/opt/ml/model"


class TestLightning(HostContract):
    """A Studio."""

    machine, host, lasts = recorded.LIGHTNING, "lightning", "ROOT/teamspace/studios/this_studio"


class TestPaperspace(HostContract):
    """A Gradient notebook."""

    machine, host, lasts = recorded.PAPERSPACE, "paperspace", "ROOT/storage"


class TestDeepnote(HostContract):
    """A project."""

    machine, host, lasts = recorded.DEEPNOTE, "deepnote", "ROOT/work"


class TestDatabricks(HostContract):
    """A cluster."""

    machine, host, lasts = recorded.DATABRICKS, "databricks", "ROOT/dbfs"


class TestBinder(HostContract):
    """Binder runs on JupyterHub and is told from it."""

    machine, host, lasts = recorded.BINDER, "binder", None


class TestJupyterHub(HostContract):
    """Any other hub."""

    machine, host, lasts = recorded.JUPYTERHUB, "jupyterhub", "/home/jovyan"


class TestLocal(HostContract):
    """A laptop."""

    machine, host, lasts = recorded.LOCAL, "local", "ROOT"


class TestColabImageElsewhere(HostContract):
    """Colab's image without Colab's machine."""

    machine, host, lasts = recorded.LOCAL_COLAB_IMAGE, "local", "ROOT"

    def test_says_so(self, runtime):
        """Colab's image on one's own machine has no host file: it is local, and the evidence says why."""
        assert any("Colab's image on another machine" in words for words in runtime.evidence)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.host)
def test_others(row, tmp_path):
    """Each host of the table is recognised by each of its variables alone."""
    for mark in row.marks:
        runtime = detect(env={mark: "x", "HOME": "/home/someone"}, root=tmp_path, cwd=tmp_path)
        assert (runtime.host, runtime.evidence) == (row.host, (f"{mark} is set",))


def test_hosts_are_ordered():
    """Kaggle is asked before both Colabs, and the one that takes everything is asked last."""
    assert HOSTS.index("kaggle") < HOSTS.index("colab")
    assert HOSTS[-1] == "local"


def test_every_host_file_is_in_the_table():
    """A host's file that is not in the table would never be asked."""
    import colabkit.runtime.hosts

    files = Path(colabkit.runtime.hosts.__file__).parent.glob("[a-z]*.py")
    assert {path.stem for path in files if "\ndef recognise(" in path.read_text()} == set(HOSTS)


def test_text_and_json_agree(tmp_path):
    """What a person reads and what a program reads tell the same host, image and folders."""
    runtime = recorded.COLAB.detect(tmp_path)
    text, value = str(runtime), runtime.to_json()
    for name in ("name", "image", "work_dir", "frontend", "python"):
        assert value[name] in text
    assert json.dumps(value)
