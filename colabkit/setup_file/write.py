"""Write the set-up file of the present session: what was installed and fetched in it, and what it runs on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from colabkit._internal.disk.files import write_text
from colabkit._internal.disk.paths import expand
from colabkit._version import DISTRIBUTION
from colabkit.errors import ColabKitError, ExistsError
from colabkit.packages.constraints import KERNEL_STACK
from colabkit.packages.environment import Environment
from colabkit.packages.request.requirement import normal, read_need
from colabkit.runtime import detect
from colabkit.setup_file import clear_text
from colabkit.setup_file.manifest import NAME
from colabkit.transfer import here, listing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.packages.environment import Installed
    from colabkit.runtime import Runtime

_INSTALLERS = ("pip", "setuptools", "uv", "wheel", normal(DISTRIBUTION))


def write(path: StrPath = NAME, *, overwrite: bool = False) -> Path:
    """Write a set-up file that asks for what this session has.

    Packages are those that no other one brings; on a machine that is lent, those of this session only, as the image
    has the rest. Sources are those in the cache. Names of secrets are for the user to add: which of them a
    notebook needs cannot be seen.

    Args:
        path: Where to write.
        overwrite: Replace what is there.

    Returns:
        The path.

    Raises:
        ExistsError: Something is there, and `overwrite` is False.
        StorageError: It cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     "packages" in write(folder + "/colabkit.toml").read_text()
        True
    """
    target = expand(path)
    if target.exists() and not overwrite:
        raise ExistsError(f"{target} already exists", hint="choose another name, or pass overwrite=True (--overwrite)")
    write_text(target, "\n".join(_lines(detect())) + "\n")
    return target


def _lines(runtime: Runtime) -> Iterator[str]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    yield f"# written by colabkit on {runtime.name}; ck.setup() or `colabkit setup` makes it all ready again"
    yield f'python = ">={version}"'
    site = list(Environment())
    parts = {name for distribution in site for name in _parts(distribution)}
    packages = [
        distribution
        for distribution in site
        if distribution.name not in parts and _was_asked_for(distribution, runtime)
    ]
    yield "packages = ["
    yield from (
        f"    {_quoted(_requirement(distribution))},"
        for distribution in sorted(packages, key=lambda distribution: distribution.name)
    )
    yield "]"
    kinds = sorted({accelerator.kind for accelerator in runtime.accelerators})
    yield f"accelerator = {_quoted(kinds[0])}" if kinds else '# accelerator = "gpu"'
    if runtime.host == "colab" and runtime.persistent_dir is not None:
        yield "drive = true"
    yield '# secrets = ["KAGGLE_API_TOKEN"]'
    yield '# run = "runs/first"'
    yield ""
    yield "[data]"
    yield from _data()


def _quoted(text: str) -> str:
    """Write a string for TOML: as for JSON, but for what JSON leaves as it is and TOML refuses."""
    encodable = text.encode(errors="replace").decode()
    return json.dumps(encodable, ensure_ascii=False).replace("\x7f", "\\u007f")


def _parts(distribution: Installed) -> Iterator[str]:
    """The packages that it brings by itself."""
    for text in distribution.requires():
        with contextlib.suppress(ValueError):  # some old packages write what is no requirement
            need = read_need(text)
            if need.applies():
                yield need.name


def _was_asked_for(distribution: Installed, runtime: Runtime) -> bool:
    """Say whether somebody installed it in this session; an image's own packages are there anyway.

    pip marks only what was asked for by name, uv marks all: so what others bring is left out beforehand.
    """
    if (
        distribution.name in KERNEL_STACK
        or distribution.name in _INSTALLERS
        or str(distribution.origin().get("url", "")).startswith("file:")
    ):
        return False
    try:
        written = os.stat(f"{distribution.folder}/REQUESTED").st_ctime  # noqa: PTH116 - as in _stale, for many
    except OSError:
        return False
    return runtime.session_age is None or written > time.time() - runtime.session_age


def _requirement(distribution: Installed) -> str:
    url = str(distribution.origin().get("url", ""))
    if url and not clear_text.secret_in(url):
        vcs = distribution.origin().get("vcs_info") or {}
        return (
            f"{distribution.name} @ {vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', '')}"
            if vcs
            else f"{distribution.name} @ {url}"
        )
    return f"{distribution.name}=={distribution.version}"


def _data() -> Iterator[str]:
    """The sources in the cache whose whole address may be shown and leads there again."""
    names: set[str] = set()
    comments: set[str] = set()
    for receipt in reversed(listing()):
        try:
            leads_there = here(receipt.source) == receipt.path
        except ColabKitError:
            leads_there = False
        if not leads_there:
            comment = f"# {_quoted(receipt.source)} was fetched too; its whole address is not kept"
            if comment not in comments:  # what its address hides may be fetched in many parts
                yield comment
            comments.add(comment)
            continue
        stem = (
            "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in receipt.path.stem) or "data"
        )
        name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))) if name not in names)
        names.add(name)
        yield f"{name} = {_quoted(receipt.source)}"
