"""Colab Enterprise on Google Cloud. Tested before Colab: it carries Colab's marks, but Drive and auth refuse there."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe
from colabkit.runtime.hosts import colab


def recognise(place: Probe) -> Host | None:
    """Recognise a Colab Enterprise runtime."""
    if place.env.get("VERTEX_PRODUCT") != "COLAB_ENTERPRISE":
        return None
    return Host(
        host="colab_enterprise",
        name="Colab Enterprise",
        evidence=tuple(filter(None, (place.shows("VERTEX_PRODUCT"), place.shows(colab.TAG)))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/content") or place.cwd,
        image=place.env.get(colab.TAG),
        image_date=colab.image_date(place.env.get(colab.TAG, "")),
        # The defaults of a runtime template: https://cloud.google.com/colab/docs/idle-shutdown and .../docs/runtimes
        max_session_hours=18,
        idle_minutes=180,
        notes=("Google Drive cannot be mounted here; keep what must last in Cloud Storage (gs://)",),
    )
