"""Kaggle notebooks. Tested before Colab: Kaggle's image is built from Colab's and carries its marks."""

from __future__ import annotations

import re

from colabkit.runtime.base import Host, Place

MARK = "KAGGLE_KERNEL_RUN_TYPE"
"""Not `KAGGLE_USERNAME`, `KAGGLE_KEY` or `KAGGLE_API_TOKEN`: those are a user's credentials and mark no host."""


def recognise(place: Place) -> Host | None:
    """Recognise a Kaggle session, interactive or batch ("Save & Run All")."""
    if not place.env.get(MARK):
        return None
    batch = place.env[MARK] == "Batch"
    on_tpu = "TPU_ACCELERATOR_TYPE" in place.env
    built = re.match(r"\d{4}-\d{2}-\d{2}", place.read("/etc/build_date"))
    return Host(
        host="kaggle",
        name="Kaggle",
        evidence=tuple(filter(None, (place.shows(MARK), place.exists("/kaggle/working")))),
        frontend=place.frontend(hosted="headless" if batch else "browser"),
        work_dir=place.folder("/kaggle/working") or place.cwd,
        persistent_dir=place.folder("/kaggle/working"),
        image=place.env.get("KAGGLE_DOCKER_IMAGE") or place.read("/etc/git_commit") or None,
        image_date=built[0] if built else None,
        max_session_hours=9 if on_tpu else 12,
        idle_minutes=None if batch else 20,
        notes=("/kaggle/working keeps up to 20 GB, and only when the notebook is saved as a version",),
    )
