"""Tags on what a cell shows, and clearing what has some of them."""

import contextlib
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator

import IPython
from IPython import display

_here = threading.local()


def _active() -> set[str]:
    if not hasattr(_here, "tags"):
        _here.tags = set()
    tags: set[str] = _here.tags
    return tags


def _as_tuple(tags: str | Iterable[str]) -> tuple[str, ...]:
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _change(add: Iterable[str], remove: Iterable[str]) -> None:
    _active().update(add)
    _active().difference_update(remove)
    sys.stdout.flush()
    sys.stderr.flush()
    area = {"nodisplay": True, "add_tags": tuple(add), "remove_tags": tuple(remove)}
    display.publish_display_data({}, metadata={"outputarea": area})


@contextlib.contextmanager
def use_tags(tags: str | Iterable[str], append: bool = True) -> Iterator[set[str]]:
    """Tag what is shown within the block; `append=False` takes the other tags off meanwhile."""
    requested, active = set(_as_tuple(tags)), set(_active())
    added, taken = requested - active, set() if append else active - requested
    _change(added, taken)
    try:
        yield _active()
    finally:
        _change(taken, added)


def clear(wait: bool = False, output_tags: str | Iterable[str] = ()) -> None:
    """Clear what the cell has shown: all, or what has all of these tags; `wait` clears when more is shown."""
    if not isinstance(wait, bool):
        raise ValueError("wait must be a boolean value")  # noqa: TRY004 - as Colab does
    sys.stdout.flush()
    sys.stderr.flush()
    kernel = getattr(IPython.get_ipython(), "kernel", None)
    if kernel is None:
        return
    publisher = kernel.shell.display_pub
    content = {"wait": wait, "output_tags": _as_tuple(output_tags)}
    kernel.session.send(
        publisher.pub_socket, "clear_output", content, parent=publisher.parent_header, ident=publisher.topic
    )


@contextlib.contextmanager
def temporary() -> Iterator[str]:
    """Clear at the end what is shown within the block, unless it fails."""
    tag = str(uuid.uuid4())
    with use_tags(tag):
        yield tag
    clear(output_tags=tag)
