"""Hosts of which colabkit knows the name and where things last, and no more: one row each."""

from __future__ import annotations

from colabkit._internal.record import Record
from colabkit.runtime.base import Host, Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.runtime.frontend import Frontend


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
    """Recognise any host of the table."""
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
