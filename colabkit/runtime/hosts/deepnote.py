"""Deepnote projects."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe

MARKS = ("DEEPNOTE_PROJECT_ID", "DEEPNOTE_PROJECT_OWNER_ID")


def recognise(place: Probe) -> Host | None:
    """Recognise a Deepnote project."""
    if not place.env.get(MARKS[0]):
        return None
    return Host(
        host="deepnote",
        name="Deepnote",
        evidence=tuple(filter(None, (*map(place.is_set, MARKS), place.exists("/work")))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.cwd,
        persistent_dir=place.folder("/work"),
    )
