"""Keys and tokens from where the runtime keeps them: `secret()`.

Colab, then Kaggle, then the environment, then a `.env` file, then the user. A place that made us wait in vain is not
asked again. No value is written, logged or shown: not in a message, a repr or a traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from colabkit._tools.log import warn
from colabkit.errors import (
    AddressError,
    NoBrowserError,
    SecretAccessError,
    SecretError,
    SecretNotFoundError,
    SecretTimeoutError,
)
from colabkit.runtime import _colab, _kaggle, base, colab_requests, env_file, frontend

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._types import StrPath
    from colabkit.runtime.base import Place

T = TypeVar("T")

_REQUIRED: Any = object()
_silent: dict[str, SecretError] = {}
"""The places that made us wait in vain, with what was said then."""


class Secret(str):
    """A text whose repr does not show it, so that neither a cell's output nor a traceback does; `str()` gives it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<secret of {len(self)} characters>"


@overload
def secret(name: str, *, prompt: bool = True, env: Mapping[str, str] | None = None, file: StrPath = ".env") -> str: ...
@overload
def secret(
    name: str, default: T, *, prompt: bool = True, env: Mapping[str, str] | None = None, file: StrPath = ".env"
) -> str | T: ...
def secret(
    name: str,
    default: Any = _REQUIRED,
    *,
    prompt: bool = True,
    env: Mapping[str, str] | None = None,
    file: StrPath = ".env",
) -> Any:
    """Return a key or token by its name, from Colab's or Kaggle's secrets, the environment, `.env`, or the user.

    What it returns is a `str` whose repr is hidden, so a cell that ends with it does not show it.

    Args:
        name: The name, for example "KAGGLE_API_TOKEN".
        default: What to return instead of raising or asking the user.
        prompt: Ask the user where nothing else has it and somebody can answer.
        env: Other environment variables than this process'.
        file: The `.env` file, relative to the working folder; only assignments in it are read.

    Raises:
        SecretNotFoundError: No place has it; the message says what each answered.
        SecretAccessError: It is there, but this notebook was not given access.
        SecretTimeoutError: The place that may have it did not answer; it is not asked again.
        NoBrowserError: Only a browser could give it, and there is none.

    Example:
        >>> secret("HF_TOKEN", env={"HF_TOKEN": "a-token"})
        <secret of 7 characters>
        >>> secret("WANDB_API_KEY", default=None) is None
        True
    """
    _check(name)
    place = base.here(env=os.environ if env is None else env)  # a default of os.environ would show in tracebacks
    refusals: dict[str, SecretError] = {}
    for title, ask in _PLACES.items():
        try:
            value = _asked(title, ask, name, place, Path(file))
        except SecretError as error:
            refusals[title] = error
        else:
            if value:
                return Secret(value)
    refused = next((one for kind in _KINDS for one in refusals.values() if type(one) is kind), None)
    if default is not _REQUIRED:
        if refused is not None:
            warn("%s is taken as not given: %s", name, refused.what)
        return default
    obstacle = _no_prompt(place) if prompt else "not to be asked"
    if not obstacle and not isinstance(refused, SecretAccessError):
        obstacle = "nothing was typed"
        if typed := _ask_user(name):
            return Secret(typed)
    raise _failure(name, refused, refusals, obstacle)


_KINDS = (SecretAccessError, SecretTimeoutError, NoBrowserError, SecretError)
"""Which refusal is told first: the one the user can do most about."""


def _from_environment(name: str, place: Place, file: Path) -> str | None:  # noqa: ARG001 - all places are asked alike
    return place.env.get(name)


def _from_file(name: str, place: Place, file: Path) -> str | None:
    return env_file.read(place.cwd / file.expanduser(), name)


def _from_colab(name: str, place: Place, file: Path) -> str | None:  # noqa: ARG001
    return _colab.secret(name) if colab_requests.is_kernel(place.shell) and not place.env.get(_kaggle.MARK) else None


def _from_kaggle(name: str, place: Place, file: Path) -> str | None:  # noqa: ARG001
    return _kaggle.secret(name) if place.env.get(_kaggle.MARK) else None


_PLACES = {
    "Colab": _from_colab,
    "Kaggle": _from_kaggle,
    "the environment": _from_environment,
    "the .env file": _from_file,
}


def _asked(title: str, ask: Any, name: str, place: Place, file: Path) -> str | None:
    with colab_requests.lock:  # so that two threads do not wait in vain for the same
        if title in _silent:
            raise _copy(_silent[title])
        try:
            value: str | None = ask(name, place, file)
        except (SecretTimeoutError, NoBrowserError) as error:
            _silent[title] = _copy(error)
            raise
        return value


def _copy(error: SecretError) -> SecretError:
    return type(error)(error.what, why=error.why, do=error.do)  # without the frames that a traceback keeps alive


def _check(name: str) -> None:
    if not name or any(letter.isspace() or letter in "=\0" for letter in name):
        raise AddressError(
            f"{name!r} cannot be the name of a secret",
            why="it is empty, or has a space or = in it",
            do='name it like "HF_TOKEN"',
        )


def _no_prompt(place: Place) -> str:
    """Say why the user cannot be asked, "" if they can."""
    shown = frontend.told_by(place.shell, place.env)
    if shown == "headless":
        return "nobody watches this run"
    if shown in ("none", "terminal", "marimo"):
        if place.shell is None and (place.env.get("JPY_PARENT_PID") or place.env.get(_colab.TAG)):
            return "this is a subprocess of a notebook"
        return "" if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() else "there is no terminal"
    if not colab_requests.may_ask():
        return "this is another thread than the cell's"
    if colab_requests.is_known_without_browser() and shown != "vscode":
        return "no frontend that shows a prompt"
    return ""


def _ask_user(name: str) -> str:
    import getpass

    try:
        return getpass.getpass(f"{name}: ").strip()
    except EOFError:
        return ""


def _failure(name: str, refused: SecretError | None, refusals: Mapping[str, SecretError], obstacle: str) -> SecretError:
    words = [f"{title}: {refusals[title].why}" for title in _PLACES if title in refusals]
    words += [f"{title}: has none" for title in ("the environment", "the .env file") if title not in refusals]
    words.append(f"the user: {obstacle}")
    kind = SecretNotFoundError if refused is None else type(refused)
    return kind(
        refused.what if refused is not None else f"no secret named {name!r}",
        why="; ".join(words),
        do=refused.do if refused is not None else f"add it to the notebook's secrets, or set the variable {name}",
    )
