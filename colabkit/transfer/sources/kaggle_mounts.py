"""Kaggle's data that is on this machine already: what Kaggle and Colab mount, and what kagglehub has fetched."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients.kaggle.handle import is_plain
from colabkit._http.json_api import ask
from colabkit._internal.log import notify
from colabkit.errors import TransferError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._clients.kaggle.handle import Handle

HUB_CACHE = "KAGGLEHUB_CACHE"
ON_KAGGLE = "KAGGLE_KERNEL_RUN_TYPE"
ON_COLAB = "TBE_RUNTIME_ADDR"
_OFF = {ON_KAGGLE: "DISABLE_KAGGLE_CACHE", ON_COLAB: "DISABLE_COLAB_CACHE"}
_INPUT = {ON_KAGGLE: "KAGGLE_CACHE_MOUNT_FOLDER", ON_COLAB: "COLAB_CACHE_MOUNT_FOLDER"}
_DEFAULT_INPUT = "/kaggle/input"
_MOUNTING = 120.0
"""Seconds that a mount may take to appear before the data is fetched instead."""


def find(handle: Handle, env: Mapping[str, str] | None = None, *, ask: bool = True) -> Path | None:
    """Return where the data lies on this machine, or None; mounted data is preferred, as nothing can change it.

    Args:
        handle: The data.
        env: The environment.
        ask: The machine's service may be asked to mount it; False only looks into kagglehub's cache.
    """
    env = config.environment(env)
    if not ask:
        mounted = None
    elif ON_KAGGLE in env and not _off(env, ON_KAGGLE):
        mounted = _on_kaggle(handle, env)
    elif ON_COLAB in env and not _off(env, ON_COLAB):
        mounted = _on_colab(handle, env)
    else:
        mounted = None
    return _inside(mounted, handle) or _in_hub_cache(handle, env)


def _off(env: Mapping[str, str], host: str) -> bool:
    return env.get(_OFF[host], "").lower() in ("1", "true", "t", "yes", "y", "on")


def _inside(folder: Path | None, handle: Handle) -> Path | None:
    if folder is None:
        return None
    path = folder / handle.file if handle.file else folder
    return path if path.exists() else None


def _on_kaggle(handle: Handle, env: Mapping[str, str]) -> Path | None:
    """Ask the notebook's own service to attach it; it knows owner and version, which a folder's name does not tell."""
    service, token = env.get("KAGGLE_DATA_PROXY_URL"), env.get("KAGGLE_USER_SECRETS_TOKEN")
    if not service or not token:
        return None
    version = {} if handle.version is None else {"VersionNumber": str(handle.version)}
    reference: dict[str, Any] = {
        "datasets": {"datasetRef": {"OwnerSlug": handle.owner, "DatasetSlug": handle.name, **version}},
        "competitions": {"competitionRef": {"CompetitionSlug": handle.name}},
        "models": {
            "modelRef": {
                "OwnerSlug": handle.owner,
                "ModelSlug": handle.name,
                "Framework": handle.framework,
                "InstanceSlug": handle.variation,
                **version,
            }
        },
        "code": {"kernelRef": {"OwnerSlug": handle.owner, "KernelSlug": handle.name, **version}},
    }[handle.kind]
    headers = {
        "X-Kaggle-Authorization": f"Bearer {token}",
        "X-KAGGLE-PROXY-DATA": env.get("KAGGLE_DATA_PROXY_TOKEN", ""),
    }
    answer = _service_reply(f"{service}/kaggle-jwt-handler/AttachDatasourceUsingJwtRequest", reference, headers)
    result = answer.get("result") if answer and answer.get("wasSuccessful") else None
    return _mounted(result.get("mountSlug") if isinstance(result, dict) else None, env, ON_KAGGLE)


def _on_colab(handle: Handle, env: Mapping[str, str]) -> Path | None:
    """Ask Colab's runtime, which mounts public datasets and models; it has no competitions and no notebooks."""
    if handle.kind in ("competitions", "code"):
        return None
    value: dict[str, Any] = {"owner": handle.owner}
    if handle.kind == "datasets":
        value["dataset"] = handle.name
    else:
        value |= {"model": handle.name, "framework": handle.framework, "variation": handle.variation}
    if handle.version is not None:
        value["version"] = handle.version
    service = f"http://{env[ON_COLAB]}/kagglehub/{handle.kind}"
    # Our credentials are not sent along: what needs them is fetched from Kaggle itself.
    if _service_reply(f"{service}/is_supported", value, {}) is None:
        return None
    answer = _service_reply(f"{service}/mount", value, {}) or {}
    return _mounted(answer.get("slug"), env, ON_COLAB)


def _service_reply(url: str, value: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any] | None:
    """Ask a service of the notebook's own machine; None where it says no, or is not there: then data is fetched."""
    try:
        reply = ask(url, what="cannot ask for mounted data", headers=headers, value=value, tries=0)
    except TransferError:
        return None
    return reply.value() if reply.status == HTTPStatus.OK else None


def _mounted(slug: Any, env: Mapping[str, str], host: str) -> Path | None:
    if not isinstance(slug, str) or not is_plain(slug):
        return None
    folder = Path(env.get(_INPUT[host]) or _DEFAULT_INPUT, slug)
    if not folder.exists():
        notify("waiting for %s to be mounted", folder)
    end = time.monotonic() + _MOUNTING
    while not folder.exists():
        if time.monotonic() > end:
            notify("%s did not appear within %d s, so the data is fetched", folder, _MOUNTING)
            return None
        time.sleep(0.5)
    return folder


def _in_hub_cache(handle: Handle, env: Mapping[str, str]) -> Path | None:
    """Find what kagglehub has fetched completely: it says so by a marker beside the folder."""
    if handle.kind == "code":
        return None  # kagglehub 1.0 has one marker for all versions of a notebook, so it says nothing
    root = config.own_path(env.get(HUB_CACHE) or "~/.cache/kagglehub", env).joinpath(handle.kind, *handle.slugs)
    if handle.kind == "competitions":
        marker = root.with_name(f"{root.name}.complete")
        complete, parts = (root if marker.exists() else None), root.parent / ".complete" / handle.name
    else:
        versions = root / "versions" if handle.kind == "datasets" else root
        version = handle.version or _newest(versions)
        if version is None:
            return None
        folder = versions / str(version)
        complete = folder if (root / f"{version}.complete").exists() else None
        root, parts = folder, root / ".complete" / str(version)
    if complete is None and handle.file and (parts / f"{handle.file}.complete").exists():
        complete = root
    return _inside(complete, handle)


def _newest(versions: Path) -> int | None:
    """Return the highest version there; as with our own cache, the source is not asked whether there is a newer one."""
    try:
        return max((int(path.name) for path in versions.iterdir() if path.name.isdecimal()), default=None)
    except OSError:
        return None
