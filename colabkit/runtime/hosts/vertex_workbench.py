"""Vertex AI Workbench instances on Google Cloud."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe


def recognise(place: Probe) -> Host | None:
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
