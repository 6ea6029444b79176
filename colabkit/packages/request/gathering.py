"""All that a call of install() asks for, from its arguments, its files and its pasted lines."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit.errors import RequirementError
from colabkit.packages.constraints import KERNEL_STACK
from colabkit.packages.request.requirements_file import FILE_SUFFIXES, applicable, is_file, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from colabkit.packages.environment import Environment
    from colabkit.packages.request.pasted import Reading
    from colabkit.packages.request.requirements_file import InstallRequirement


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What is asked for.

    Attributes:
        requirements: The requirements that count on this Python.
        line: What pasted lines and files say beside them; None where there was none.
        differs: How this runtime differs from the one whose lock is restored.
        skipped: Lines of a lock that are left out, with the reason.
        locks: The locks among the files, where nothing but locks was named.
    """

    requirements: tuple[InstallRequirement, ...]
    line: Reading | None
    differs: tuple[str, ...]
    skipped: tuple[str, ...]
    locks: tuple[Path, ...] = ()


def flat(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of lists in lists, one after another.

    Example:
        >>> list(flat(["numpy", ["polars", ("tqdm",)]]))
        ['numpy', 'polars', 'tqdm']
    """
    for item in items:
        if isinstance(item, list | tuple | set | frozenset):
            yield from flat(item)
        else:
            yield item


def gather(items: Iterable[Any], site: Environment, *, force: bool) -> Gathered:
    """Read everything that a call names.

    Args:
        items: Requirements, files, pasted lines, in lists or not.
        site: What is installed.
        force: Take the kernel's own packages from a lock, too.

    Raises:
        RequirementError: One cannot be read.
        NotFoundError: A file is not there.
    """
    requirements: list[InstallRequirement] = []
    line: Reading | None = None
    differs: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    some = False
    locks: list[Path] = []
    others = False
    for item in flat(items):
        some = True
        if isinstance(item, str) and not is_file(item):
            others = True
            try:
                requirements.append(read(item))
            except RequirementError as error:
                reading = _pasted(item, error)
                line = reading if line is None else line + reading
            continue
        path = expand(item) if isinstance(item, str | os.PathLike) else None
        if path is None:
            read(item)  # says that it is neither a text nor a path
        elif path.suffix not in FILE_SUFFIXES:
            others = True
            from colabkit.packages.request.source_address import address_of

            requirements.append(address_of(str(path)))
        else:
            from colabkit.packages.lock_file import differences, is_lock
            from colabkit.packages.request.pasted import read_file

            reading = read_file(path)
            # A lock lists the kernel it was written in; this one keeps its own, or nobody would be there to go on.
            left_out = (
                []
                if force
                else [requirement for requirement in reading.requirements if requirement.name in KERNEL_STACK]
            )
            skipped += tuple(
                f"{requirement.need.text}: the running kernel keeps its own"
                for requirement in left_out
                if site.missing([requirement], no_deps=True)
            )
            differs += differences(path)
            locks += [path] if is_lock(path) else []
            others = others or not is_lock(path)
            requirements += [requirement for requirement in reading.requirements if requirement not in left_out]
            reading = replace(reading, requirements=())
            line = reading if line is None else line + reading
    if not some:
        raise RequirementError("nothing to install", hint='name a package: install("keras>=3.10")')
    requirements += line.requirements if line is not None else ()
    return Gathered(
        requirements=tuple(applicable(requirements)),
        line=line,
        differs=differs,
        skipped=skipped,
        locks=() if others else tuple(locks),
    )


def _pasted(text: str, error: RequirementError) -> Reading:
    from colabkit.packages.request.pasted import read_text

    if error.what.endswith("credentials"):
        raise error
    return read_text(text, _names())


def _names() -> Mapping[str, Any]:
    from colabkit.runtime.frontend import running_shell

    names: Mapping[str, Any] = getattr(running_shell(), "user_ns", {})
    return names
