"""The set-up panel: what this runtime is and has, with buttons for the next steps: `setup_panel()`.

It draws what the public functions return and calls them; a decision that is made here is in the wrong place.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from colabkit._internal.log import in_notebook
from colabkit.errors import AddressError
from colabkit.panel.page import Page

if TYPE_CHECKING:
    from colabkit.checkpoint import Run

__all__ = ["Page", "setup_panel"]


def setup_panel(run: Run | None = None) -> Page:
    """Show the set-up panel: runtime, packages, data, Drive, the run, and the code that does the same.

    What takes long happens in a thread, so the kernel stays free. While a cell runs, buttons are answered after it, and
    what is in progress goes on being drawn. Without ipywidgets, and outside a notebook, it is a page to read.

    Args:
        run: A run of this notebook, to flush it from the panel; any run can be looked at by its address.

    Returns:
        The panel, which a notebook shows when it is the last line of a cell; `print` gives it as text.

    Raises:
        AddressError: `run` is no run.

    Example:
        >>> "ck.install" in str(setup_panel())
        True
    """
    if run is not None and not hasattr(run, "status"):
        raise AddressError(
            f"{run!r:.100} is no run",
            why=f"it is of the type {type(run).__name__}",
            hint="pass what open_run gave: ck.setup_panel(run); the tab Run shows any other run by its address",
        )
    if not in_notebook() or importlib.util.find_spec("ipywidgets") is None:
        return Page()
    from colabkit.panel.widgets import Panel

    return Panel(run)
