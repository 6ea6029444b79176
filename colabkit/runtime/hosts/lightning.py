"""Lightning AI Studios."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe

STUDIO = "/teamspace/studios/this_studio"


def recognise(place: Probe) -> Host | None:
    """Recognise a Studio."""
    if not place.env.get("LIGHTNING_CLOUD_SPACE_ID"):
        return None
    marks = ("LIGHTNING_CLOUD_SPACE_ID", "LIGHTNING_CLOUD_PROJECT_ID", "LIGHTNING_CLUSTER_ID")
    return Host(
        host="lightning",
        name="Lightning Studio",
        evidence=tuple(filter(None, (*map(place.is_set, marks), place.exists(STUDIO)))),
        _frontend=place.frontend(hosted="vscode"),
        work_dir=place.folder(STUDIO) or place.cwd,
        persistent_dir=place.folder(STUDIO),
        ephemeral=False,
        notes=("a free Studio is restarted after 4 hours; its folder stays",),
    )
