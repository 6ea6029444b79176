"""Schedulers that start the same command on several hosts, recognised by their variables: one file each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit.launch.schedulers.base import Place

SCHEDULERS = ("slurm", "kubernetes", "gce", "tf_config")
"""In the order in which they are asked; each has `place(env)`."""

NAMES = "SLURM, an indexed Kubernetes Job, Google's TPU_WORKER_HOSTNAMES and TF_CONFIG"


def find(env: Mapping[str, str]) -> Place | None:
    """Return where a scheduler has put this process, or None without one.

    Raises:
        ClusterConfigError: Its variables are there, and cannot be read.
    """
    for name in SCHEDULERS:
        place: Place | None = importlib.import_module(f"colabkit.launch.schedulers.{name}").place(env)
        if place is not None:
            return place
    return None
