"""The cache of the Hub's own client: what is there is taken from it, and what is fetched is put there.

Its layout is documented (huggingface.co/docs/huggingface_hub/guides/manage-cache): bytes in `blobs` by their hash, and
links to them in `snapshots`, which are left to the client itself.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._clients.huggingface import endpoint, home
from colabkit._clients.huggingface import repo as repository
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.log import notify, warn
from colabkit._internal.optional import require
from colabkit.errors import ColabKitError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from colabkit._clients.huggingface import Hub, HubAddress, HubFile

_COPIED = 16 << 20
"""Bytes up to which a file is copied: settings are what people change in place; weights are linked, for the room."""


def cached(address: HubAddress, env: Mapping[str, str] | None = None) -> Path | None:
    """Return where the Hub's own client has a file already; as with our own cache nobody is asked for a newer one."""
    repo = _folder(address, env)
    ref = address.ref or "main"
    with_ref = repo / "refs" / ref
    try:
        commit = with_ref.read_text(encoding="utf-8").strip() if with_ref.is_file() else ref
        path = repo / "snapshots" / commit / address.path
        return path if re.fullmatch(r"[0-9a-f]{40}", commit) and path.is_file() else None
    except (OSError, ValueError):
        return None


def fill(hub: Hub, address: HubAddress, files: Mapping[Path, HubFile]) -> None:
    """Let `from_pretrained` and the Hub's other programs find what was fetched; what keeps them from it is told.

    Args:
        hub: Asks the Hub.
        address: What was fetched.
        files: What lies where.
    """
    try:
        _fill(hub, address, files)
    except ColabKitError as error:
        warn("%s is not in the Hub's own cache: %s", address, error.why or error.what)


def _fill(hub: Hub, address: HubAddress, files: Mapping[Path, HubFile]) -> None:
    folder = _folder(address)
    blobs = folder / "blobs"
    with map_os_errors(blobs):
        blobs.mkdir(parents=True, exist_ok=True)
        for path, file in files.items():
            # The engine has compared the hash of a large one; git's is another kind.
            if file.version and (file.checksum is not None or repository.is_same(path, file)):
                _place(path, blobs / file.version)

    client = require("huggingface_hub", extra="hf", why="the Hub of Hugging Face is accessed through its own client")

    def link(token: str) -> Any:
        return client.snapshot_download(
            address.repo,
            repo_type=address.kind,
            revision=address.ref or None,
            allow_patterns=[glob.escape(file.address.path) for file in files.values()],
            cache_dir=str(folder.parent),
            endpoint=endpoint(),
            token=token or False,
            library_name="colabkit",
        )

    with repository.quiet(client, hidden=True):
        hub.call(address, link)
    notify("%s is in the Hub's own cache, too, where its programs find it", address)


def _place(path: Path, blob: Path) -> None:
    if blob.exists():
        return
    part = blob.with_name(f"{blob.name}{TEMP_MARKER}{os.getpid()}")
    try:
        if path.stat().st_size <= _COPIED:
            shutil.copyfile(path, part)
        else:
            try:
                os.link(path, part)
            except OSError:  # another file system
                shutil.copyfile(path, part)
        os.replace(part, blob)
    finally:
        part.unlink(missing_ok=True)


def _folder(address: HubAddress, env: Mapping[str, str] | None = None) -> Path:
    env = config.environment(env)
    chosen = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or f"{home(env)}/hub"
    cache = config.own_path(chosen, env)
    return cache / f"{address.kind}s--{address.repo.replace('/', '--')}"
