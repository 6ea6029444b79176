"""What an install would do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.show import Shown

if TYPE_CHECKING:
    from colabkit.packages.stale import Stale


@dataclass(frozen=True, kw_only=True)
class Change:
    """One distribution that changes.

    Attributes:
        name: The name in its normal form.
        before: The version that is there; None when it is new.
        after: The version that comes; "" where only its own code tells it.
        origin: The address it comes from, without credentials; "" for an index.

    Example:
        >>> print(Change(name="numpy", before="2.1.3", after="2.3.5"))
        numpy 2.1.3 -> 2.3.5
        >>> print(Change(name="demo", before="1.0", after="1.0", origin="./demo"))
        demo 1.0 again, from ./demo
    """

    name: str
    before: str | None
    after: str
    origin: str = ""

    def __str__(self) -> str:
        source = f", from {self.origin}" if self.origin else ""
        if self.before is None:
            return f"{self.name} {self.after} (new{source})" if self.after else f"{self.name} (new{source})"
        if self.before == self.after:
            return f"{self.name} {self.after} again{source}"
        return f"{self.name} {self.before} -> {self.after or 'a version that its code tells'}{source}"


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """An installed package whose requirement the change would break.

    Attributes:
        package: The package that stops fitting, with its version.
        needs: The requirement that is broken.
        gets: The version it would find.
        name: The normal name of the package that changes.
    """

    package: str
    needs: str
    gets: str
    name: str

    def __str__(self) -> str:
        return f"{self.package} needs {self.needs}, and would find {self.name} {self.gets}"


@dataclass(frozen=True, kw_only=True, repr=False)
class InstallReport(Shown):
    """What install() did, or with `dry_run=True` would do.

    Attributes:
        changed: The distributions that changed.
        conflicts: Installed packages that do not fit the new versions.
        stale: Packages whose loaded modules are not the ones on disk any more; in a plan, those that would be.
        differs: How this runtime differs from the one whose lock was restored.
        skipped: Lines of a lock that were left out, with the reason.
        questions: What a plan cannot know, since only the package's own code tells it, and a plan runs none.
        installer: "uv" or "pip"; empty when nothing had to be asked of either.
        dry_run: Nothing was touched.
    """

    changed: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    stale: tuple[Stale, ...] = ()
    differs: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    installer: str = ""
    dry_run: bool = False

    @property
    def restart_needed(self) -> bool:
        """Whether this process must start anew before the packages can be trusted."""
        return bool(self.stale)

    def __str__(self) -> str:
        verb = "would change" if self.dry_run else "changed"
        lines = [f"{verb}: {', '.join(map(str, self.changed))}"] if self.changed else []
        lines += [f"not known before: {text}" for text in self.questions]
        lines = lines or ["everything is already there"]
        lines += [f"conflict: {conflict}" for conflict in self.conflicts]
        lines += [f"differs: {text}" for text in self.differs]
        lines += [f"left out: {text}" for text in self.skipped]
        if self.stale:
            lines.append(f"restart needed: {'; '.join(map(str, self.stale))}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as `--json` prints them."""
        return {
            "changed": [
                {"name": change.name, "before": change.before, "after": change.after} for change in self.changed
            ],
            "conflicts": [str(conflict) for conflict in self.conflicts],
            "stale": [str(package) for package in self.stale],
            "differs": list(self.differs),
            "skipped": list(self.skipped),
            "questions": list(self.questions),
            "installer": self.installer,
            "dry_run": self.dry_run,
            "restart_needed": self.restart_needed,
        }
