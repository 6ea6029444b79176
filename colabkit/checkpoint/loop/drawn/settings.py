"""How modules are set, as text.

How layers are set may be drawn (`nn.Dropout(random.uniform(0.1, 0.5))`) or be a setting that the user has changed.
Either way it takes effect, and is told. Plain numbers and words in variables are not: a loop around a training
(`for fold in range(5)`) gives them other values.
"""

from __future__ import annotations

import hashlib
import re
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from colabkit.checkpoint.loop.carried.telling import PLAIN
from colabkit.checkpoint.loop.carried.user_loops import is_of_the_user
from colabkit.checkpoint.loop.drawn.reach import own_attributes
from colabkit.checkpoint.loop.drawn.values import is_of_a_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 40  # characters of a value
_MOST = 400  # modules in a module that are told one by one
_LONGEST = 512  # items of a list that is written
_OF_A_PROCESS = re.compile(r"[\d/\\]")  # a path, a date, a random name
_CALLABLE = (types.FunctionType, types.BuiltinFunctionType, type, np.ufunc)


def _text_of(value: Any) -> str | None:
    """Write a plain value so that it tells it from another one; None for what is none, or is of one process."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | complex | None):
        return None if is_of_a_clock(value) else repr(value)
    if isinstance(value, str):
        return None if _OF_A_PROCESS.search(value) else _shortened(repr(value))
    if isinstance(value, _CALLABLE):
        return str(value.__name__)
    if isinstance(value, list | tuple) and 0 < len(value) <= _LONGEST and {*map(type, value)} <= {*PLAIN}:
        return _shortened(repr(value))  # as a kernel's size
    return None


def texts_of_module(module: Any) -> Iterator[tuple[str, str]]:
    """Write how a module, and each of those in it, is set: its class, and what its attributes hold.

    Fractions of the user's modules and of torch's, as a dropout's, are written; all else is told together, by a hash.

    Args:
        module: It.

    Returns:
        Pairs of the place in the module and the text.
    """
    rest = hashlib.blake2b(digest_size=6)
    for at, (name, each) in enumerate(module.named_modules()):
        kind, attributes = type(each), own_attributes(each)
        if is_of_the_user(kind):  # whose containers are looked into
            attributes = {key: item for key, item in attributes.items() if not isinstance(item, list | tuple | dict)}
        texts = {key: text for key, item in attributes.items() if (text := _text_of(item)) is not None}
        fractions = ", ".join(f"{key}={texts[key]}" for key in texts if isinstance(attributes[key], float))
        if fractions and at < _MOST and (is_of_the_user(kind) or kind.__module__.startswith("torch.")):
            yield (f".{name}" if name else ""), _shortened(f"{kind.__name__}({fractions})", 2 * _SHOWN)
            texts = {key: text for key, text in texts.items() if not isinstance(attributes[key], float)}
        rest.update(f"{name} {kind.__name__} {texts}".encode())
    yield " and what is in it", rest.hexdigest()


def _shortened(text: str, most: int = _SHOWN) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most - 14]}… {hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"
