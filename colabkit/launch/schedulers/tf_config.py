"""TF_CONFIG as Vertex AI and Kubeflow set it: the workers by host and port, and which of them this is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.accelerator import cluster
from colabkit.launch.schedulers.base import Place

if TYPE_CHECKING:
    from collections.abc import Mapping


def place(env: Mapping[str, str]) -> Place | None:
    """Read TF_CONFIG; one worker alone is no cluster."""
    workers = cluster.current({cluster.TF_CONFIG: env.get(cluster.TF_CONFIG, "")})
    return None if workers is None else Place(name="TF_CONFIG", hosts=workers.addresses, rank=workers.index)
