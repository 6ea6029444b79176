"""What a program takes out of a set of text, or out of a folder, in the order in which it happens to lie there.

`classes = list(set(names))` numbers the classes anew whenever Python starts, because the hashes of text are drawn then
(https://docs.python.org/3/reference/datamodel.html#object.__hash__). A training that goes on with weights of the first
order and numbers of the second one learns nonsense, and what a pipeline makes of them cannot be compared. So the
variables of the program that take their order from a set are found in its source, and kept with the run. So are names
of classes in the order of a folder (`os.listdir`), which is another one on another machine's disk; lists of files are
not, since a dataset keeps the order of its samples itself.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import itertools
import re
import sys
import sysconfig
import types
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.few import few
from colabkit._internal.log import warn
from colabkit.checkpoint.policy.source_order import calls_hash, in_order, may_take_order, names, words
from colabkit.errors import RunMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from colabkit.checkpoint.policy.source_order import Names

KEY, LISTED_KEY = "set_orders", "listing_orders"
"""Where the metadata of a state keeps what comes out of sets, and out of folders."""
_MOST = 10_000  # items of a value whose order is kept
_MOST_CLASSES = 1_000
_SHOWN = 1_000  # characters of a line that gives an order back
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_HASHED_ANEW = (str, bytes, dt.date, dt.time, dt.timedelta)


def take() -> dict[str, dict[str, list[str]]]:
    """Give the variables of the program that take their order from a set of text, or number classes as a folder does.

    Returns:
        For the metadata of a state, under `KEY` and `LISTED_KEY`: what each variable holds, in order.
    """
    programs = {place: _sources(namespace) for place, namespace in _modules()}
    read = {place: texts for place, texts in programs.items() if not place or may_take_order("\n".join(texts))}
    try:
        named = {place: names(texts) for place, texts in read.items()}
        others = (words(text) for place, texts in programs.items() if place not in read for text in texts)
        elsewhere = frozenset[str]().union(*(each.used | each.attributes for each in named.values()), *others)
        orders = {
            KEY: _ordered(read, named, elsewhere, _set_items, listing=False),
            LISTED_KEY: _ordered(read, named, elsewhere, _class_names, listing=True),
        }
    except (RecursionError, SystemError):  # an expression of a thousand terms; it is no reason to end a training
        return {}
    return {key: dict(sorted(order.items())) for key, order in orders.items() if order}


def kept(meta: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Give what the metadata of a state has of what `take` gave."""
    return {key: meta[key] for key in (KEY, LISTED_KEY) if isinstance(meta.get(key), dict)}


def tell(run: str, orders: Mapping[str, Mapping[str, Any]]) -> None:
    """Say before a training begins which variables will have another order in the next process, or elsewhere.

    Args:
        run: The run's name.
        orders: What `take` gave.
    """
    mend = "A killed run goes on only with the order that it was begun with: write sorted(…) around"
    if (of_sets := orders.get(KEY)) and _are_hashes_drawn():
        text = "%s: %s: the order comes from a set of text, and is another one each time Python starts. %s the set now"
        warn(text, run, few(list(of_sets), 5), mend)
    if of_folders := orders.get(LISTED_KEY):
        text = "%s: %s: the order is that of a folder, and is another one on another machine. %s the listing now"
        warn(text, run, few(list(of_folders), 5), mend)
    if _are_hashes_drawn() and _calls_hash():
        text = "%s: hash() of text gives other numbers each time Python starts, so a killed run goes on with others; %s"
        warn(text, run, "take zlib.crc32(text.encode())")


def take_and_tell(run: str) -> dict[str, dict[str, list[str]]]:
    """Give what `take` gives, and tell of it, as a training begins."""
    orders = take()
    tell(run, orders)
    return orders


def check(run: str, meta: Mapping[str, Any], *, refuse: bool) -> None:
    """Compare the variables of this process with those that a run was begun with.

    Args:
        run: The run's name.
        meta: The metadata of the saved state, with what `take` gave then.
        refuse: Refuse another order; else it is told.

    Raises:
        RunMismatchError: One has another order.
    """
    namespaces = dict(_namespaces())
    for key, place, order in ((key, *item) for key, orders in kept(meta).items() for item in orders.items()):
        name = re.split("[.:]", place)[-1]
        value = namespaces.get(place.removesuffix(name), {}).get(name)
        now = list(map(str, _items(value)))
        if now == order or sorted(now) != sorted(order):  # other items are other data, which is compared elsewhere
            continue
        text = f"{place} has another order than when the run {run} was begun"
        if not refuse:
            warn("%s, so what is numbered by it means other things from here on", text)
            continue
        line = f"{name if isinstance(value, list) else 'order'} = {order!r}"
        source, when = ("set", "each time Python starts") if key == KEY else ("listing", "on another machine")
        raise RunMismatchError(
            text,
            why=f"it comes from a {_SOURCES[key]}, whose order is another one {when}, so numbers that are made of it "
            "mean other things now",
            hint=(
                f"give it the order of the run, {line}, in place of the {source}"
                if len(line) <= _SHOWN
                else f"begin another run, with sorted(…) around the {source}"
            )
            + "; if it has no part in the training: check_data=False",
        )
    if _are_hashes_drawn() and _calls_hash():
        warn("%s: hash() of text gives other numbers than when the run was begun; what it numbers has changed", run)


_SOURCES = {KEY: "set of text", LISTED_KEY: "folder"}


def _ordered(
    programs: Mapping[str, tuple[str, ...]],
    named: Mapping[str, Names],
    elsewhere: frozenset[str],
    items: Callable[[Any], list[Any]],
    *,
    listing: bool,
) -> dict[str, list[str]]:
    """Give the variables whose order comes from sets or from listings, with the items that are kept.

    Args:
        programs: The sources of the program, under an empty name, and of the modules that may take an order.
        named: What each of them names.
        elsewhere: The names that any module uses, since others import the names of a module.
        items: Gives of a variable the items that are kept.
        listing: It looks for the order of folders, else for that of sets.
    """
    giving = frozenset[str]().union(*(each.giving_listings if listing else each.giving_sets for each in named.values()))
    orders = {}
    for place, namespace in _namespaces():
        function = place[:-1] if place.endswith(".") else ""
        taken = in_order(programs.get("" if function else place, ()), function, giving, listing=listing)
        for name in taken & (elsewhere if place.endswith(":") else named[""].used):
            if len(kept := items(namespace.get(name))) > 1:
                orders[f"{place}{name}"] = list(map(str, kept))
    return orders


def _set_items(value: Any) -> list[Any]:
    items = _items(value)
    return items if len(items) <= _MOST and all(map(_is_hashed_anew, items)) else []


def _class_names(value: Any) -> list[Any]:
    """Give the items of what may number classes: names, folders, whatever has numbers; names of files are samples."""
    items = _items(value)
    if not (len(items) <= _MOST_CLASSES and all(isinstance(item, str | PurePath) for item in items)):
        return []
    if isinstance(value, dict):
        numbers = [each for pair in value.items() for each in pair if isinstance(each, int)]
        return items if len(set(numbers)) == len(items) else []
    return [] if any(PurePath(item).suffix for item in items) else items


def _are_hashes_drawn() -> bool:
    """Say whether Python draws the hashes of text as it starts: PYTHONHASHSEED was no number then."""
    if not sys.flags.hash_randomization:
        return False
    try:
        at_start = (
            Path("/proc/self/environ").read_bytes().split(b"\0")
        )  # a program may have set it, which changes nothing
    except OSError:
        return True
    return not any(re.fullmatch(rb"PYTHONHASHSEED=\d+", each) for each in at_start)


def _is_hashed_anew(item: Any) -> bool:
    return any(map(_is_hashed_anew, item)) if isinstance(item, tuple) else isinstance(item, _HASHED_ANEW)


def _items(value: Any) -> list[Any]:
    """List what a variable holds in order: the items of a list or array, the names in a dict, a layer's vocabulary."""
    if callable(words := getattr(value, "get_vocabulary", None)) and not isinstance(value, type):
        try:
            value = words()
        except Exception:  # noqa: BLE001 - a class of the user's, which may want arguments
            return []
    if isinstance(value, dict) and all(isinstance(key, int) for key in itertools.islice(value, _MOST)):
        value = list(itertools.islice(value.values(), _MOST + 1))  # numbers to names
    if isinstance(value, list | tuple | dict):
        return list(itertools.islice(value, _MOST + 1))
    if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist") and len(value) <= _MOST:
        items = value.tolist()
        return items if isinstance(items, list) else []
    return []


def _main() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _modules() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the variables of the program, and those of the user's own modules that it has imported, by their names."""
    yield "", _main()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in ("__main__", "__mp_main__") or name.startswith("colabkit") or not isinstance(file, str):
            continue
        if file.endswith(".py") and not file.startswith(_INSTALLED) and isinstance(module, types.ModuleType):
            yield f"{name}:", vars(module)


def _namespaces() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the variables of the modules, and those of the program's running functions, by the function's name."""
    yield from _modules()
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals is _main() and frame.f_code.co_name != "<module>":
            yield f"{frame.f_code.co_name}.", frame.f_locals
        frame = frame.f_back


def _sources(namespace: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the cells that a notebook has run, or the text of the program."""
    if isinstance(cells := namespace.get("_ih"), list):
        return tuple(map(str, cells))
    if isinstance(path := namespace.get("__file__"), str):
        with contextlib.suppress(OSError, ValueError):
            return (Path(path).read_text(encoding="utf-8"),)
    return ()


def _calls_hash() -> bool:
    with contextlib.suppress(SystemError):
        return calls_hash(_sources(_main()))
    return False
