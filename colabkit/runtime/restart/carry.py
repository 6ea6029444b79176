"""What a fresh kernel gets back from the one before it: settings, extensions, imports and plain values.

`collect` looks before the process replaces itself, `restore` acts in the fresh kernel. There this file is run by its
path, so it needs nothing but the standard library and what the kernel itself has loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import os
import pickle
import sys
import types
from pathlib import PurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_MANY = 1_000_000  # values in a container, beyond which it is data rather than a setting
_LEFT_ALONE = ("HistoryManager", "ProfileDir", "Session", "IPKernelApp", "BuiltinTrap", "CommManager")
"""Parts of a kernel whose settings belong to the process, not to the user."""

_GUI = {"inline": "inline", "ipympl": "widget", "widget": "widget", "nbagg": "notebook", "notebook": "notebook"}
"""Parts of the names that matplotlib has for the backends of a notebook, and what `%matplotlib` calls them."""


def collect(shell: Any, again: list[str], names: list[str]) -> dict[str, Any]:
    """Return what `restore` needs, as plain values that JSON can hold.

    Args:
        shell: The IPython shell.
        again: The imports and settings of earlier cells, in their order.
        names: The names with plain values that earlier cells made.
    """
    history = shell.history_manager
    values = {name: shell.user_ns[name] for name in names if name in shell.user_ns}
    return {
        "extensions": sorted(shell.extension_manager.loaded),
        "imp": "imp" in sys.modules and sys.version_info >= (3, 12),  # put there for an autoreload that wants it
        "autoreload": _autoreload(shell),
        "backend": _backend(),
        "settings": _packed({name: dict(_settings(configurable)) for name, configurable in _configurables(shell)}),
        "xmode": str(shell.InteractiveTB.mode),
        "printers": list(_printers(shell)),
        "path": list(sys.path),
        "shim": _shim(),
        "again": again,
        "values": _packed(values),
        "cells": [list(history.input_hist_parsed[:-1]), list(history.input_hist_raw[:-1])],
    }


def not_carried(shell: Any) -> list[str]:
    """Say what of the kernel's settings cannot come back, since only an earlier cell knows how it was made."""
    lost = []
    for kind, formatter in shell.display_formatter.formatters.items():
        for kind_of_value, printer in formatter.type_printers.items():
            if _is_from_cell(printer) or _is_from_cell(kind_of_value):
                lost.append(f"how a {kind_of_value.__name__} is shown as {kind}")
    for event, callbacks in shell.events.callbacks.items():
        if any(map(_is_from_cell, callbacks)):
            lost.append(f"a function that runs at {event}")
    return lost


def is_plain(value: Any, most: int = _MANY) -> bool:
    """Say whether a value is made of numbers, texts, paths, secrets and containers of them, so that it can come back.

    Args:
        value: The value.
        most: How many values it may hold.
    """
    pending, seen, count = [value], set(), 0
    while pending:
        item = pending.pop()
        count += 1
        if count > most:
            return False
        if type(item) in _ATOMS or isinstance(item, PurePath) or _is_secret(item):
            continue
        if id(item) in seen:
            continue
        seen.add(id(item))
        if type(item) in (list, tuple, set, frozenset):
            pending += item
        elif type(item) is dict:
            pending += [*item, *item.values()]
        elif type(item).__module__.startswith("colabkit.") and hasattr(type(item), "__dataclass_fields__"):
            pending += vars(item).values()
        else:
            return False
    return True


def _is_secret(value: Any) -> bool:
    return isinstance(value, str) and type(value).__module__ == "colabkit.runtime.secrets"


def restore(shell: Any, state: dict[str, Any]) -> list[str]:
    """Put everything back into a fresh kernel, and return what could not be, in words."""
    failed: list[str] = []

    def attempt(what: str, work: Callable[..., object], *arguments: Any) -> None:
        try:
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
                work(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever an extension raises, the cells must go on
            failed.append(f"{what} ({type(error).__name__}: {error})")

    sys.path += [entry for entry in state["path"] if entry not in sys.path]
    if state["imp"]:
        _provide_imp()
    for name in state["extensions"]:
        if name not in shell.extension_manager.loaded:
            attempt(f"the extension {name}", shell.extension_manager.load_extension, name)
    if state["backend"]:
        attempt(f"matplotlib's backend {state['backend']}", _set_backend, shell, state["backend"])
    for name, configurable, trait, value in _changed(shell, state["settings"]):
        attempt(f"the setting {name}.{trait}", setattr, configurable, trait, value)
    attempt("%xmode", shell.InteractiveTB.set_mode, state["xmode"])
    for line in state["autoreload"]:
        attempt(f"%{line}", shell.run_line_magic, *line.split(" ", 1))
    for kind, module, name, printer in state["printers"]:
        attempt(f"how {module}.{name} is shown", _set_printer, shell, kind, module, name, printer)
    if state["shim"]:
        attempt("colab_shim()", lambda: importlib.import_module("colabkit.shims").restore(state["shim"]))
    attempt("values of earlier cells", _set_values, shell, state["values"])
    for number, line in enumerate(state["again"]):
        file = f"<an earlier cell {number}>"
        linecache.cache[file] = (len(line), None, line.splitlines(keepends=True), file)  # as a cell's own lines are
        attempt(line, exec, compile(line, file, "exec"), shell.user_ns)
    attempt("the prompt's number", _set_history, shell, *state["cells"])
    return failed


def _changed(shell: Any, packed: str) -> Iterator[tuple[str, Any, str, Any]]:
    settings = pickle.loads(bytes.fromhex(packed))  # noqa: S301 - written by ourselves a moment ago
    for name, configurable in _configurables(shell):
        for trait, value in settings.get(name, {}).items():
            if configurable.has_trait(trait) and getattr(configurable, trait) != value:
                yield name, configurable, trait, value


def _provide_imp() -> None:
    shim = types.ModuleType("imp")
    shim.reload = importlib.reload  # type: ignore[attr-defined]
    sys.modules["imp"] = shim


def _configurables(shell: Any) -> Iterator[tuple[str, Any]]:
    formatters = list(shell.display_formatter.formatters.values())
    names: set[str] = set()
    for configurable in (shell, *shell.configurables, shell.display_formatter, *formatters):
        name = type(configurable).__name__
        if name not in _LEFT_ALONE and name not in names:
            names.add(name)
            yield name, configurable


def _settings(configurable: Any) -> Iterator[tuple[str, Any]]:
    for name in configurable.trait_names(config=True):
        with contextlib.suppress(Exception):  # a default that cannot be made here is none that was set
            value = getattr(configurable, name)
            if is_plain(value, 1000) and not isinstance(value, PurePath):
                yield name, value


def _packed(value: Any) -> str:
    return pickle.dumps(value).hex()


def _is_from_cell(value: Any) -> bool:
    value = getattr(value, "__func__", value)
    return getattr(value, "__module__", None) == "__main__"


def _printers(shell: Any) -> Iterator[tuple[str, str, str, str]]:
    """The display functions that can be imported: of which kind, for which type, and where the function is."""
    for kind, formatter in shell.display_formatter.formatters.items():
        named = [
            ((printed_type.__module__, printed_type.__name__), display_function)
            for printed_type, display_function in formatter.type_printers.items()
        ]
        for (module, name), printer in (*named, *formatter.deferred_printers.items()):
            place = f"{getattr(printer, '__module__', '')}:{getattr(printer, '__qualname__', '')}"
            if not place.startswith((":", "__main__", "IPython.", "matplotlib")) and "<" not in place:
                yield kind, module, name, place


def _set_printer(shell: Any, kind: str, module: str, name: str, place: str) -> None:
    where, _, path = place.partition(":")

    def printer(*arguments: Any) -> Any:
        value: Any = importlib.import_module(where)
        for part in path.split("."):
            value = getattr(value, part)
        return value(*arguments)

    shell.display_formatter.formatters[kind].for_type_by_name(module, name, printer)


def _shim() -> dict[str, Any]:
    """What `colab_shim` has given; nothing where it was not called."""
    shims = sys.modules.get("colabkit.shims")
    return shims.state() if shims is not None else {}


def _backend() -> str:
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is None:
        return ""
    backend = dict.__getitem__(matplotlib.rcParams, "backend")  # asking in the usual way would choose one
    return backend if isinstance(backend, str) else ""


def _set_backend(shell: Any, backend: str) -> None:
    gui = next((gui for part, gui in _GUI.items() if part in backend.lower()), None)
    if gui is None:
        importlib.import_module("matplotlib").use(backend)
    else:
        shell.run_line_magic("matplotlib", gui)


def _autoreload(shell: Any) -> list[str]:
    magics = shell.magics_manager.registry.get("AutoreloadMagics")
    reloader = getattr(magics, "_reloader", None)
    if reloader is None:
        return []
    mode = "0" if not reloader.enabled else "2" if reloader.check_all else "1"
    mode = "3" if mode == "2" and getattr(reloader, "autoload_obj", False) else mode
    lines = [f"autoreload {mode}"]
    lines += [f"aimport {name}" for name in reloader.modules]
    return lines + [f"aimport -{name}" for name in reloader.skip_modules]


def _set_values(shell: Any, packed: str) -> None:
    shell.user_ns.update(pickle.loads(bytes.fromhex(packed)))  # noqa: S301 - written by ourselves a moment ago


def _set_history(shell: Any, parsed: list[str], raw: list[str]) -> None:
    history = shell.history_manager
    if len(parsed) > 1:
        history.input_hist_parsed[:] = parsed
        history.input_hist_raw[:] = raw
        shell.execution_count = len(parsed)
