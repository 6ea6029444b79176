"""An indexed Job of Kubernetes: each pod has its index in a variable, and with a headless service a name of its own.

https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/ - the pods are called JOB-INDEX.SERVICE. Neither
their number nor the service is in a variable, so that the manifest passes --workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.launch.schedulers.base import Place, number

if TYPE_CHECKING:
    from collections.abc import Mapping


def place(env: Mapping[str, str]) -> Place | None:
    """Read the pod's index."""
    if "JOB_COMPLETION_INDEX" not in env:
        return None
    return Place(name="Kubernetes", hosts=(), rank=number(env, "JOB_COMPLETION_INDEX"))
