"""What an installer is asked: the same question for uv and for pip."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.disk import working_dir
from colabkit.runtime import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from colabkit._internal.process.proc import Completed
    from colabkit.packages.report import Change
    from colabkit.packages.request.options import Options
    from colabkit.packages.request.requirements_file import InstallRequirement

INSTALL_TIMEOUT = 3600.0
"""Seconds: a GPU build of torch over a slow line takes many minutes."""

PLAN_TIMEOUT = 600.0
"""Seconds: what is named by an address of source code is built to learn what it needs."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Requirements, what must not move, and where packages come from.

    Attributes:
        requirements: The requirements.
        constraints: Names and versions that stay as they are.
        options: Where packages come from.
        env: The environment of the installer's process.
    """

    requirements: tuple[InstallRequirement, ...]
    constraints: Mapping[str, str]
    options: Options
    env: Mapping[str, str]

    @property
    def built(self) -> tuple[str, ...]:
        """The names of what is asked for by an address of source code, which is the word to build it."""
        return tuple(
            requirement.name for requirement in self.requirements if requirement.is_source and requirement.name
        )

    @property
    def may_build(self) -> bool:
        """Whether source code may be built, which can take minutes and fail for reasons of its own."""
        return self.options.source or any(requirement.is_source for requirement in self.requirements)

    @property
    def named(self) -> tuple[str, ...]:
        """The names of what is asked for, where they are known."""
        return tuple(dict.fromkeys(requirement.name for requirement in self.requirements if requirement.name))

    @property
    def cwd(self) -> str | None:
        """Where the installer runs: in `/` if the working folder is gone or on a Drive; its paths are all absolute."""
        folder = working_dir.current()
        return "/" if working_dir.is_gone() or mounts.holding(folder, mounts.DRIVE) is not None else None

    @contextlib.contextmanager
    def files(self, planned: Sequence[Change] = ()) -> Iterator[list[str]]:
        """Write the requirements and the constraints; yield the arguments that name them.

        Args:
            planned: Changes that were shown: the versions are held to them, so that what is done is what was said.
        """
        constraints = dict(self.constraints) | {change.name: change.after for change in planned if not change.origin}
        with tempfile.TemporaryDirectory(prefix="colabkit-install-") as folder:
            requirements = Path(folder, "requirements.txt")
            requirements.write_text(
                "".join(f"{requirement.line}\n" for requirement in self.requirements), encoding="utf-8"
            )
            arguments = ["-r", str(requirements)]
            if constraints:
                file = Path(folder, "constraints.txt")
                lines = (f"{name}=={version}\n" for name, version in constraints.items())
                file.write_text("".join(lines), encoding="utf-8")
                arguments += ["-c", str(file)]
            for path in self.options.constraints:
                arguments += ["-c", path]
            if self.options.no_deps:
                arguments.append("--no-deps")
            if self.options.no_build_isolation:
                arguments.append("--no-build-isolation")
            if self.options.no_index:
                arguments.append("--no-index")
            yield [*arguments, *self.links()]

    def links(self) -> list[str]:
        """Return the arguments for the folders and pages of wheels."""
        links = (os.path.expanduser(link) for link in self.options.find_links)  # noqa: PTH111 - it may be an address
        return [word for link in links for word in ("--find-links", link)]


class Failure(Exception):  # noqa: N818 - it never leaves this package: _failures.py words it
    """An installer said no.

    Args:
        installer: "uv" or "pip".
        done: What it left.
        log: The log of the build, if there was one.
    """

    def __init__(self, installer: str, done: Completed, log: Path | None = None) -> None:
        super().__init__(installer, done.code)
        self.installer = installer
        self.done = done
        self.log = log
