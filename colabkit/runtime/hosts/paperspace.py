"""Paperspace Gradient notebooks."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe

MARKS = ("PAPERSPACE_NOTEBOOK_REPO_ID", "PAPERSPACE_FQDN")


def recognise(place: Probe) -> Host | None:
    """Recognise a Gradient notebook."""
    if not any(place.env.get(mark) for mark in MARKS):
        return None
    return Host(
        host="paperspace",
        name="Paperspace Gradient",
        evidence=tuple(filter(None, (*map(place.is_set, MARKS), place.exists("/notebooks"), place.exists("/storage")))),
        _frontend=place.frontend(hosted="jupyterlab"),
        work_dir=place.folder("/notebooks") or place.cwd,
        persistent_dir=place.folder("/storage"),
        max_session_hours=6,
        notes=("6 hours is the limit of the free machines; paid ones stop when you asked them to",),
    )
