"""Services that lend notebooks or machines: those with folders and limits of their own, and a row for each other."""

from __future__ import annotations

from colabkit._internal.record import Record
from colabkit.runtime.base import Host, Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.runtime.frontend import Frontend

_STUDIO_LAB_HOME = "/home/studio-lab-user"
_SAGEMAKER_METADATA = "/opt/ml/metadata/resource-metadata.json"
_SAGEMAKER_JOB = ("SM_MODEL_DIR", "SM_CURRENT_HOST")
_LIGHTNING_STUDIO = "/teamspace/studios/this_studio"
_PAPERSPACE_MARKS = ("PAPERSPACE_NOTEBOOK_REPO_ID", "PAPERSPACE_FQDN")
_DEEPNOTE_MARKS = ("DEEPNOTE_PROJECT_ID", "DEEPNOTE_PROJECT_OWNER_ID")
_DATABRICKS_MARK = "DATABRICKS_RUNTIME_VERSION"


class HostSpec(Record):
    """One host: the variables that mark it, any of them, and the folder that stays ("~" is the home folder)."""

    host: str
    name: str
    marks: tuple[str, ...]
    persistent: str = ""
    frontend: Frontend | None = None


ROWS = (
    HostSpec(host="hex", name="Hex", marks=("HEX_PROJECT_ID",), frontend="browser"),
    HostSpec(host="datalore", name="Datalore", marks=("DATALORE_USER",), persistent="/data/notebook_files"),
    HostSpec(host="codespaces", name="GitHub Codespaces", marks=("CODESPACES",), persistent="/workspaces"),
    HostSpec(host="cloud_shell", name="Google Cloud Shell", marks=("CLOUD_SHELL",), persistent="~"),
    HostSpec(host="runpod", name="RunPod", marks=("RUNPOD_POD_ID",), persistent="/workspace"),
    HostSpec(host="vast", name="Vast.ai", marks=("VAST_CONTAINERLABEL",), persistent="/workspace"),
    HostSpec(
        host="azureml",
        name="Azure Machine Learning",
        marks=("AZUREML_RUN_ID", "AZUREML_ARM_WORKSPACE_NAME", "AZUREML_WORKSPACE_ID"),
    ),
    HostSpec(host="spaces", name="Hugging Face Spaces", marks=("SPACE_ID",), persistent="/data"),
)


def recognise(place: Probe) -> Host | None:
    """Recognise any of them."""
    # Studio Lab before SageMaker, which it is built on.
    for service in (_vertex_workbench, _studio_lab, _sagemaker, _lightning, _paperspace, _deepnote, _databricks, _row):
        host = service(place)
        if host is not None:
            return host
    return None


def _vertex_workbench(place: Probe) -> Host | None:
    """Recognise a Workbench instance."""
    if place.env.get("VERTEX_PRODUCT") != "WORKBENCH_INSTANCE":
        return None
    return Host(
        host="vertex_workbench",
        name="Vertex AI Workbench",
        evidence=tuple(filter(None, (place.shows("VERTEX_PRODUCT"), place.is_set("DL_ANACONDA_HOME")))),
        _frontend=place.frontend(hosted="jupyterlab"),
        work_dir=place.cwd,
        persistent_dir=place.home,
        ephemeral=False,
        idle_minutes=180,
    )


def _studio_lab(place: Probe) -> Host | None:
    """Recognise a Studio Lab session by its home folder."""
    if place.env.get("HOME") != _STUDIO_LAB_HOME:
        return None
    return Host(
        host="studio_lab",
        name="SageMaker Studio Lab",
        evidence=tuple(filter(None, (place.shows("HOME"), place.exists(_STUDIO_LAB_HOME)))),
        _frontend=place.frontend(hosted="jupyterlab"),
        work_dir=place.cwd,
        persistent_dir=place.path(_STUDIO_LAB_HOME),
        ephemeral=False,
        max_session_hours=4,
        notes=("the home folder holds 15 GB; GPU and CPU time are limited a day as well",),
    )


def _sagemaker(place: Probe) -> Host | None:
    """Recognise Studio and notebook instances by their metadata, a training job by the variables of its container."""
    studio = (place.exists(_SAGEMAKER_METADATA), place.is_set("SAGEMAKER_INTERNAL_IMAGE_URI"))
    job = tuple(place.is_set(name) for name in _SAGEMAKER_JOB)
    if all(job):
        return Host(
            host="sagemaker",
            name="SageMaker training job",
            evidence=job,
            _frontend=place.frontend(hosted="headless"),
            work_dir=place.cwd,
            persistent_dir=place.path(place.env["SM_MODEL_DIR"]),
            image=place.env.get("SAGEMAKER_INTERNAL_IMAGE_URI"),
            notes=("what is in the model folder when the job ends is uploaded to S3; nothing else stays",),
        )
    if any(studio):
        return Host(
            host="sagemaker",
            name="Amazon SageMaker",
            evidence=tuple(filter(None, studio)),
            _frontend=place.frontend(hosted="jupyterlab"),
            work_dir=place.cwd,
            persistent_dir=place.folder(str(place.home / "SageMaker")) or place.home,
            ephemeral=False,
            image=place.env.get("SAGEMAKER_INTERNAL_IMAGE_URI"),
        )
    return None


def _lightning(place: Probe) -> Host | None:
    """Recognise a Studio."""
    if not place.env.get("LIGHTNING_CLOUD_SPACE_ID"):
        return None
    marks = ("LIGHTNING_CLOUD_SPACE_ID", "LIGHTNING_CLOUD_PROJECT_ID", "LIGHTNING_CLUSTER_ID")
    return Host(
        host="lightning",
        name="Lightning Studio",
        evidence=tuple(filter(None, (*map(place.is_set, marks), place.exists(_LIGHTNING_STUDIO)))),
        _frontend=place.frontend(hosted="vscode"),
        work_dir=place.folder(_LIGHTNING_STUDIO) or place.cwd,
        persistent_dir=place.folder(_LIGHTNING_STUDIO),
        ephemeral=False,
        notes=("a free Studio is restarted after 4 hours; its folder stays",),
    )


def _paperspace(place: Probe) -> Host | None:
    """Recognise a Gradient notebook."""
    if not any(place.env.get(mark) for mark in _PAPERSPACE_MARKS):
        return None
    return Host(
        host="paperspace",
        name="Paperspace Gradient",
        evidence=tuple(
            filter(None, (*map(place.is_set, _PAPERSPACE_MARKS), place.exists("/notebooks"), place.exists("/storage")))
        ),
        _frontend=place.frontend(hosted="jupyterlab"),
        work_dir=place.folder("/notebooks") or place.cwd,
        persistent_dir=place.folder("/storage"),
        max_session_hours=6,
        notes=("6 hours is the limit of the free machines; paid ones stop when you asked them to",),
    )


def _deepnote(place: Probe) -> Host | None:
    """Recognise a Deepnote project."""
    if not place.env.get(_DEEPNOTE_MARKS[0]):
        return None
    return Host(
        host="deepnote",
        name="Deepnote",
        evidence=tuple(filter(None, (*map(place.is_set, _DEEPNOTE_MARKS), place.exists("/work")))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.cwd,
        persistent_dir=place.folder("/work"),
    )


def _databricks(place: Probe) -> Host | None:
    """Recognise a Databricks notebook."""
    if not place.env.get(_DATABRICKS_MARK):
        return None
    return Host(
        host="databricks",
        name="Databricks",
        evidence=tuple(
            filter(None, (place.shows(_DATABRICKS_MARK), place.exists("/databricks"), place.exists("/dbfs")))
        ),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/local_disk0") or place.cwd,
        persistent_dir=place.folder("/dbfs") or place.folder("/Volumes"),
        image=f"Databricks Runtime {place.env[_DATABRICKS_MARK]}",
    )


def _row(place: Probe) -> Host | None:
    """Recognise a host of the rows."""
    for row in ROWS:
        evidence = tuple(filter(None, map(place.is_set, row.marks)))
        if evidence:
            return Host(
                host=row.host,
                name=row.name,
                evidence=evidence,
                _frontend=place.frontend(hosted=row.frontend),
                work_dir=place.cwd,
                persistent_dir=_folder(place, row.persistent),
            )
    return None


def _folder(place: Probe, name: str) -> Path | None:
    if name == "~":
        return place.home
    return place.folder(name) if name else None
