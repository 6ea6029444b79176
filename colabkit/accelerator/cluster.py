"""The workers that train together, as the environment tells it: three dialects, read without importing a framework.

`TF_CONFIG` (Vertex AI, Kubeflow), the variables of keras.distribution (`colabkit launch` sets both), and those of
torchrun: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which Kubeflow, SkyPilot and many schedulers' recipes set too.

Source:
    https://docs.pytorch.org/docs/stable/elastic/run.html#environment-variables
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit.errors import ClusterConfigError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TF_CONFIG = "TF_CONFIG"
ADDRESSES = "KERAS_DISTRIBUTION_JOB_ADDRESSES"
COUNT = "KERAS_DISTRIBUTION_NUM_PROCESSES"
INDEX = "KERAS_DISTRIBUTION_PROCESS_ID"
_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_LAST_PORT = 65535

_EXAMPLE = '{"cluster": {"worker": ["host1:8476", "host2:8476"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Some processes that train one model, and which of them this one is.

    Attributes:
        addresses: `host:port` of each worker, where TensorFlow listens.
        index: This worker's place in them; 0 is the chief, who alone writes.
        coordinator: `host:port` where the chief's JAX listens.
    """

    addresses: tuple[str, ...]
    index: int
    coordinator: str

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self.addresses)

    def environment(self) -> dict[str, str]:
        """Return the variables from which TensorFlow and keras.distribution learn of the cluster.

        Example:
            >>> cluster = Cluster(addresses=("a:1", "b:1"), index=1, coordinator="a:2")
            >>> current(cluster.environment()) == cluster
            True
        """
        task = {"cluster": {"worker": list(self.addresses)}, "task": {"type": "worker", "index": self.index}}
        return {
            TF_CONFIG: json.dumps(task),
            ADDRESSES: self.coordinator,
            COUNT: str(self.count),
            INDEX: str(self.index),
        }


def current(env: Mapping[str, str] | None = None) -> Cluster | None:
    """Return the cluster that this process is a worker of, or None where it trains alone.

    Raises:
        ClusterConfigError: The variables cannot be read.
        UnsupportedError: They name parameter servers.

    Example:
        >>> current({}) is None
        True
    """
    env = config.environment(env)
    if text := env.get(TF_CONFIG):
        addresses, index = _read_tf_config(text)
        coordinator = env.get(ADDRESSES, "").partition(",")[0] or addresses[0]
        cluster = Cluster(addresses=addresses, index=index, coordinator=coordinator)
    elif text := env.get(ADDRESSES):
        names = text.split(",")
        count, index = _number(env, COUNT), _number(env, INDEX)
        if index >= count or len(names) not in (1, count):
            raise ClusterConfigError(
                f"{ADDRESSES}, {COUNT} and {INDEX} do not fit together",
                why=f"{len(names)} addresses, {count} processes, number {index}",
                hint=f"give one address or as many as processes, and a {INDEX} below {COUNT}",
            )
        addresses = tuple(names) if len(names) == count else tuple(f"{names[0]}#{rank}" for rank in range(count))
        cluster = Cluster(addresses=addresses, index=index, coordinator=names[0])
    elif all(env.get(name) for name in _TORCHRUN):
        cluster = _read_torchrun(env)
    else:
        return None
    return cluster if cluster.count > 1 else None


def announce() -> None:
    """Tell TensorFlow and keras.distribution in this process what torchrun's variables say; they read only their own.

    Raises:
        ClusterConfigError: The variables cannot be read.
        UnsupportedError: The workers are on several hosts, of which they name one only.
    """
    if not os.environ.get(TF_CONFIG) and not os.environ.get(ADDRESSES) and (joined := current()):
        if any("#" in address for address in joined.addresses):
            os.environ.update({ADDRESSES: joined.coordinator, COUNT: str(joined.count), INDEX: str(joined.index)})
        else:
            os.environ.update(joined.environment())


def check_address(text: Any, *, seen: Sequence[str] = ()) -> str:
    """Return an address as `host:port`.

    Raises:
        ClusterConfigError: It is none, its port is impossible, or it was seen before.

    Example:
        >>> check_address("host1:8476")
        'host1:8476'
    """
    host, colon, port = str(text).rpartition(":")
    if not isinstance(text, str) or not colon or not host or any(sign in text for sign in " ,/\"'"):
        raise ClusterConfigError(f"{text!r} is not an address of a worker", hint="write it as host:port")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ClusterConfigError(f"{text!r} has an invalid port", hint="use a number from 1 to 65535")
    if text in seen:
        raise ClusterConfigError(
            f"the worker {text} is named twice",
            why="two workers cannot listen at one address",
            hint="name each once; on one host give each its own port, as in host:8476,host:8576",
        )
    return text


def _read_tf_config(text: str) -> tuple[tuple[str, ...], int]:
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config.get("task", {})
        kind, index = task.get("type", "worker"), task.get("index", 0)
        lists = {name: list(members) for name, members in cluster.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ClusterConfigError(
            f"{TF_CONFIG} cannot be read", why=f"{error!r} in {text[:200]!r}", hint=f"write it as {_EXAMPLE}"
        ) from error
    if strange := lists.keys() - {"chief", "worker"}:
        raise UnsupportedError(
            f"{TF_CONFIG} names tasks of the type {', '.join(sorted(map(str, strange)))}",
            why="Keras 3 cannot train with parameter servers, and evaluators take no part",
            hint="use workers only, or a chief and workers",
        )
    addresses: list[str] = []
    for address in [*lists.get("chief", []), *lists.get("worker", [])]:
        addresses.append(check_address(address, seen=addresses))
    members = lists.get(kind, []) if isinstance(kind, str) else []
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(members):
        raise ClusterConfigError(
            f"{TF_CONFIG} gives this process the task {kind} {index}, which its cluster does not have",
            why=f"it has {len(members)} of that type",
            hint=f"write it as {_EXAMPLE}",
        )
    return tuple(addresses), index + (len(lists.get("chief", [])) if kind == "worker" else 0)


def _read_torchrun(env: Mapping[str, str]) -> Cluster:
    index, count, port = _number(env, "RANK"), _number(env, "WORLD_SIZE"), _number(env, "MASTER_PORT")
    host = env["MASTER_ADDR"]
    check_address(f"{host}:{port}")
    if index >= count:
        raise ClusterConfigError(f"RANK={index} and WORLD_SIZE={count} do not fit", hint="RANK counts from 0")
    # Each start gets ports of its own: those of a worker that was killed may be held a while. MASTER_PORT is taken.
    again = int(env.get("TORCHELASTIC_RESTART_COUNT") or 0)
    first = port + 1 + again * (count + 1)
    if first + count > _LAST_PORT:
        first -= (count + 1) * (again + 2)
    names = [name.strip() for name in env.get("SKYPILOT_NODE_IPS", "").split() if name.strip()]
    if int(env.get("LOCAL_WORLD_SIZE") or 1) == count:
        addresses = tuple(f"{host}:{first + rank}" for rank in range(count))
    elif len(names) == count:
        addresses = tuple(f"{name}:{first}" for name in names)
    else:  # enough for JAX, which needs the coordinator alone
        addresses = tuple(f"{host}:{first}#{rank}" for rank in range(count))
    return Cluster(addresses=addresses, index=index, coordinator=f"{host}:{first + count}")


def _number(env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "")
    if not (text.isascii() and text.isdigit()):
        raise ClusterConfigError(f"{name}={text!r} is not a number", hint="set it to a whole number")
    return int(text)
