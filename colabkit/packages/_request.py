"""What an installer is asked: the same question for uv and for pip."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from colabkit._tools.proc import Completed
    from colabkit.packages._report import Change
    from colabkit.packages._requirements import Wanted

INSTALL_TIMEOUT = 3600.0
"""Seconds: a GPU build of torch over a slow line takes many minutes."""

PLAN_TIMEOUT = 600.0
"""Seconds: a plan may have to build a source package to learn what it needs."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where packages come from.

    Attributes:
        index_url: The index instead of the installer's own.
        extra_index_urls: Indexes beside it.
        find_links: Folders or pages of wheels.
        offline: Only what is in the installer's cache.
    """

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    """Requirements, what must not move, and where packages come from.

    Attributes:
        wanted: The requirements.
        held: Names and versions that stay as they are.
        options: Where packages come from.
        env: The environment of the installer's process.
    """

    wanted: tuple[Wanted, ...]
    held: Mapping[str, str]
    options: Options
    env: Mapping[str, str]

    @contextlib.contextmanager
    def files(self, planned: Sequence[Change] = ()) -> Iterator[list[str]]:
        """Write the requirements and the constraints; yield the arguments that name them.

        Args:
            planned: Changes that were shown: the versions are held to them, so that what is done is what was said.
        """
        constraints = dict(self.held) | {change.name: change.after for change in planned}
        with tempfile.TemporaryDirectory(prefix="colabkit-install-") as folder:
            requirements = Path(folder, "requirements.txt")
            requirements.write_text("".join(f"{one.line}\n" for one in self.wanted), encoding="utf-8")
            arguments = ["-r", str(requirements)]
            if constraints:
                file = Path(folder, "constraints.txt")
                lines = (f"{name}=={version}\n" for name, version in constraints.items())
                file.write_text("".join(lines), encoding="utf-8")
                arguments += ["-c", str(file)]
            for link in self.options.find_links:
                arguments += ["--find-links", os.path.expanduser(link)]  # noqa: PTH111 - it may be an address
            yield arguments


class Failure(Exception):  # noqa: N818 - it never leaves this package: _failures.py words it
    """An installer said no.

    Args:
        installer: "uv" or "pip".
        done: What it left.
    """

    def __init__(self, installer: str, done: Completed) -> None:
        super().__init__(installer, done.code)
        self.installer = installer
        self.done = done
