"""Where does this process run, and what has it got: `detect()` and the table of hosts."""

from __future__ import annotations

import importlib
import sys

from colabkit import config
from colabkit.runtime import resources
from colabkit.runtime.base import Host, Probe, here
from colabkit.runtime.report import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from colabkit.runtime.devices import Devices
    from colabkit.runtime.quota import Quota

__all__ = ["HOSTS", "Host", "Runtime", "detect"]

HOSTS = (
    "kaggle",  # before Colab: its image is built from Colab's
    "colab",
    "services",
    "local",  # takes what is left; after all that run a hub of their own underneath
)
"""The files of the hosts, in the order in which they are asked."""


def detect(
    *,
    env: Mapping[str, str] | None = None,
    root: Path | None = None,
    shell: Any = None,
    cwd: Path | None = None,
) -> Runtime:
    """Tell where this process runs, on what evidence, and what it may use.

    Looks at the environment and at files only: no framework is imported, no device opened, no server called, and
    it is right in a `!python` subprocess as well. nvidia-smi is asked when `.accelerators` is first read,
    and the commands of Colab and Kaggle what is left when `.quotas` is.

    Args:
        env: The environment variables.
        root: The root folder of a recorded machine; this machine's own when None.
        shell: The IPython shell of this process; looked up when None.
        cwd: The working folder; this process' own when None.

    Returns:
        The runtime: host, frontend, evidence, Python, image, cores, memory, disk, accelerators, folders, limits.

    Example:
        >>> runtime = detect(env={"KAGGLE_KERNEL_RUN_TYPE": "Interactive"})
        >>> runtime.host, runtime.evidence
        ('kaggle', ('KAGGLE_KERNEL_RUN_TYPE=Interactive',))
    """
    env = config.environment(env)
    place = here(env=env, root=root, shell=shell, cwd=cwd)
    root = place.root
    host = _recognise(place)
    memory = resources.memory(root)
    return Runtime(
        **vars(host),
        python=sys.version.partition(" ")[0],
        cpus=resources.cpus(root),
        memory=None if memory is None else memory.total,
        disk=resources.disk(host.work_dir),
        session_age=None if host.host == "local" else resources.container_age(root),
        _detect_devices=lambda: _detect_devices(env, root),
        _ask=lambda: _ask(host.host, env),
    )


def _recognise(place: Probe) -> Host:
    for name in HOSTS:
        host: Host | None = importlib.import_module(f"colabkit.runtime.hosts.{name}").recognise(place)
        if host is not None:
            return host
    raise AssertionError("the last host of the table takes everything")


def _detect_devices(env: Mapping[str, str], root: Path) -> Devices:
    from colabkit.runtime import devices

    return devices.detect(env, root)


def _ask(host: str, env: Mapping[str, str]) -> tuple[Quota, ...]:
    from colabkit.runtime import quota

    return quota.ask(host, env)
