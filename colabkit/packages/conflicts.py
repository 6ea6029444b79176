"""Which installed packages a change would break: installers look only at what they install."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from colabkit.packages.report import Conflict
from colabkit.packages.request.requirement import read_need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.packages.environment import Environment
    from colabkit.packages.report import Change


def broken_by(changes: Sequence[Change], site: Environment) -> tuple[Conflict, ...]:
    """List the requirements of installed packages that hold now and would not hold after the changes.

    Args:
        changes: What would change.
        site: What is installed now.
    """
    replaced = {change.name: change for change in changes if change.before is not None and change.after}
    if not replaced:
        return ()
    # One search over each METADATA; parsing all 700 of them would cost a second.
    names = "|".join(re.escape(name).replace(r"\-", "[-_.]+") for name in replaced)
    mentions = re.compile(rf"^Requires-Dist: *((?:{names})(?![-\w.]).*)$", re.MULTILINE | re.IGNORECASE)
    moving = {change.name for change in changes}
    conflicts = []
    for here in site:
        if here.name in moving:
            continue  # the installer saw to its requirements
        for text in mentions.findall(here.metadata()):
            try:
                need = read_need(text)
            except ValueError:
                continue
            change = replaced[need.name]
            if need.applies() and need.allows(str(change.before)) and not need.allows(change.after):
                needs = text.partition(";")[0].strip()
                conflicts.append(
                    Conflict(package=f"{here.name} {here.version}", needs=needs, gets=change.after, name=change.name)
                )
    return tuple(sorted(conflicts, key=str))
