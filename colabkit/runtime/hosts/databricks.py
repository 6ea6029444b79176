"""Databricks clusters."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe

MARK = "DATABRICKS_RUNTIME_VERSION"


def recognise(place: Probe) -> Host | None:
    """Recognise a Databricks notebook."""
    if not place.env.get(MARK):
        return None
    return Host(
        host="databricks",
        name="Databricks",
        evidence=tuple(filter(None, (place.shows(MARK), place.exists("/databricks"), place.exists("/dbfs")))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/local_disk0") or place.cwd,
        persistent_dir=place.folder("/dbfs") or place.folder("/Volumes"),
        image=f"Databricks Runtime {place.env[MARK]}",
    )
