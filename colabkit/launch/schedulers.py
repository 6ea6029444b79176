"""Schedulers that start the same command on several hosts, recognised by their variables: one function each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.accelerator import cluster
from colabkit.errors import ClusterConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = "SLURM, an indexed Kubernetes Job, Google's TPU_WORKER_HOSTNAMES and TF_CONFIG"
_PART = re.compile(r"([^\[\],\s]+)(?:\[([\d,-]+)\])?([^\[\],\s]*)(?:,|$)")
_MOST = 4096


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a scheduler has put this process.

    Attributes:
        name: The scheduler's, to show.
        hosts: All hosts in order, `host` or `host:port`; empty where it does not tell.
        rank: Which of them this is; None where it does not tell.
    """

    name: str
    hosts: tuple[str, ...]
    rank: int | None


def find(env: Mapping[str, str]) -> Place | None:
    """Return where a scheduler has put this process, or None without one.

    Raises:
        ClusterConfigError: Its variables are there, and cannot be read.
    """
    for scheduler in (_slurm, _kubernetes, _tpu_hosts, _tf_config):
        place = scheduler(env)
        if place is not None:
            return place
    return None


def _slurm(env: Mapping[str, str]) -> Place | None:
    """Read the task's number and the nodes of its step: `srun --ntasks-per-node=1` starts one task a node.

    https://slurm.schedmd.com/srun.html
    """
    if "SLURM_PROCID" not in env:
        return None
    text = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST", "")
    hosts, rank, tasks = expand(text), _number(env, "SLURM_PROCID"), _number(env, "SLURM_NTASKS")
    if tasks != len(hosts):
        raise ClusterConfigError(
            f"SLURM runs {tasks} tasks on {len(hosts)} nodes",
            why="one worker a node is supported, which then uses all its devices",
            hint="use srun --ntasks-per-node=1, or --local on one node",
        )
    return Place(name="SLURM", hosts=hosts, rank=rank)


def expand(text: str) -> tuple[str, ...]:
    """Write out a list of nodes.

    Raises:
        ClusterConfigError: It is none.

    Example:
        >>> expand("gpu[08-10,12],login")
        ('gpu08', 'gpu09', 'gpu10', 'gpu12', 'login')
    """
    hosts: list[str] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise _unreadable(text)
        before, ranges, after = match.groups()
        if ranges is None:
            hosts.append(before + after)
        else:
            for item in ranges.split(","):
                first, dash, last = item.partition("-")
                if not first.isdigit() or (dash and not last.isdigit()):
                    raise _unreadable(text)
                stop = int(last) if dash else int(first)
                if stop - int(first) + len(hosts) > _MOST:
                    raise _unreadable(text)
                hosts.extend(f"{before}{at:0{len(first)}d}{after}" for at in range(int(first), stop + 1))
        position = match.end()
    return tuple(hosts)


def _unreadable(text: str) -> ClusterConfigError:
    return ClusterConfigError(
        f"SLURM's list of nodes cannot be read: {text[:100]!r}", hint="pass --workers and --rank instead"
    )


def _kubernetes(env: Mapping[str, str]) -> Place | None:
    """Read a pod's index in an indexed Job of Kubernetes.

    https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication/ - the pods are called JOB-INDEX.SERVICE.
    Neither their number nor the service is in a variable, so that the manifest passes --workers.
    """
    if "JOB_COMPLETION_INDEX" not in env:
        return None
    return Place(name="Kubernetes", hosts=(), rank=_number(env, "JOB_COMPLETION_INDEX"))


def _tpu_hosts(env: Mapping[str, str]) -> Place | None:
    """Read the number and the names of Google's TPU hosts, on GCE and on GKE, from the variables that libtpu reads.

    https://cloud.google.com/kubernetes-engine/docs/how-to/tpus - TPU_WORKER_ID and TPU_WORKER_HOSTNAMES. A single host,
    such as Colab's, is no cluster.
    """
    hosts = tuple(name.strip() for name in env.get("TPU_WORKER_HOSTNAMES", "").split(",") if name.strip())
    if len(hosts) < 2:
        return None
    return Place(name="GCE", hosts=hosts, rank=_number(env, "TPU_WORKER_ID"))


def _tf_config(env: Mapping[str, str]) -> Place | None:
    """Read TF_CONFIG as Vertex AI and Kubeflow set it; one worker alone is no cluster."""
    workers = cluster.current({cluster.TF_CONFIG: env.get(cluster.TF_CONFIG, "")})
    return None if workers is None else Place(name="TF_CONFIG", hosts=workers.addresses, rank=workers.index)


def _number(env: Mapping[str, str], name: str) -> int:
    """Read a variable that must hold a whole number.

    Raises:
        ClusterConfigError: It does not.
    """
    text = env.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ClusterConfigError(f"{name}={text[:40]!r} is not a number", hint="pass --rank and --workers instead")
    return int(text)
