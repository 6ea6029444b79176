"""SLURM: `srun --ntasks-per-node=1` starts one task a node, see https://slurm.schedmd.com/srun.html."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from colabkit.errors import ClusterConfigError
from colabkit.launch.schedulers.base import Place, number

if TYPE_CHECKING:
    from collections.abc import Mapping

_PART = re.compile(r"([^\[\],\s]+)(?:\[([\d,-]+)\])?([^\[\],\s]*)(?:,|$)")
_MOST = 4096


def place(env: Mapping[str, str]) -> Place | None:
    """Read the task's number and the nodes of its step."""
    if "SLURM_PROCID" not in env:
        return None
    text = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST", "")
    hosts, rank, tasks = expand(text), number(env, "SLURM_PROCID"), number(env, "SLURM_NTASKS")
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
