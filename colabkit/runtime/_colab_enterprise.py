"""Colab Enterprise on Google Cloud. Tested before Colab: it carries Colab's marks, but Drive and auth refuse there."""

from __future__ import annotations

from colabkit.runtime import _colab
from colabkit.runtime.base import Host, Place


def recognise(place: Place) -> Host | None:
    """Recognise a Colab Enterprise runtime."""
    if place.env.get("VERTEX_PRODUCT") != "COLAB_ENTERPRISE":
        return None
    return Host(
        host="colab_enterprise",
        name="Colab Enterprise",
        evidence=tuple(filter(None, (place.shows("VERTEX_PRODUCT"), place.shows(_colab.TAG)))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/content") or place.cwd,
        image=place.env.get(_colab.TAG),
        image_date=_colab.image_date(place.env.get(_colab.TAG, "")),
        # The defaults of a runtime template: https://cloud.google.com/colab/docs/idle-shutdown and .../docs/runtimes
        max_session_hours=18,
        idle_minutes=180,
        notes=("Google Drive cannot be mounted here; keep what must last in Cloud Storage (gs://)",),
    )
