"""How packages are installed: the options of one call, and of the lines pasted into it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """What a line of pip can say of how packages are installed.

    Attributes:
        upgrade: Take the newest versions of what is named.
        pre: Allow pre-releases.
        no_deps: Leave the requirements of the packages alone.
        reinstall: Install what is named again, if it is there.
        source: Build packages that an index has as source code only.
        no_build_isolation: Build with what is installed here.
        no_index: Ask no index.
        dry_run: Only say what would change.
        index_url: The index instead of the installer's own.
        extra_index_urls: Indexes beside it.
        find_links: Folders or pages of wheels.
        constraints: More files of constraints.
    """

    upgrade: bool = False
    pre: bool = False
    no_deps: bool = False
    reinstall: bool = False
    source: bool = False
    no_build_isolation: bool = False
    no_index: bool = False
    dry_run: bool = False
    index_url: str | None = field(default=None, repr=False)  # these may hold a password
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options(LineOptions):
    """How packages are installed, and where they come from.

    Attributes:
        offline: Only what is in the installer's cache.
        constrain: Keep the image's heavy packages as they are.
        force: Change what the kernel stands on, and break what does not fit.
    """

    offline: bool = False
    constrain: bool = True
    force: bool = False

    @property
    def asks_anew(self) -> bool:
        """Whether the installer has to be asked even where everything is there."""
        return self.upgrade or self.reinstall

    def with_line(self, line: LineOptions) -> Options:
        """Return the options with those that stand in a pasted line or a file; the call's own index counts first."""
        both: dict[str, Any] = {}
        for option in fields(LineOptions):
            mine, theirs = getattr(self, option.name), getattr(line, option.name)
            both[option.name] = (*mine, *theirs) if isinstance(mine, tuple) else mine or theirs
        return replace(self, **both)
