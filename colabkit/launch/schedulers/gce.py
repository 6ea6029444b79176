"""Google's TPU hosts, on GCE and on GKE: the variables that libtpu reads.

https://cloud.google.com/kubernetes-engine/docs/how-to/tpus - TPU_WORKER_ID and TPU_WORKER_HOSTNAMES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.launch.schedulers.base import Place, number

if TYPE_CHECKING:
    from collections.abc import Mapping


def place(env: Mapping[str, str]) -> Place | None:
    """Read the host's number and the names of all; a single host, such as Colab's, is no cluster."""
    hosts = tuple(name.strip() for name in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if name.strip())
    if len(hosts) < 2:
        return None
    return Place(name="GCE", hosts=hosts, rank=number(env, "TPU_WORKER_ID"))
