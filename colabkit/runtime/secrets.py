"""Keys and tokens from where the runtime keeps them: `secret()`.

Colab, then Kaggle, then the environment, then a `.env` file, then the user. A place that made us wait in vain is not
asked again. No value is written, logged or shown: not in a message, a repr or a traceback.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from colabkit import config
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.log import warn
from colabkit.errors import (
    AddressError,
    NoBrowserError,
    SecretAccessError,
    SecretError,
    SecretNotFoundError,
    SecretTimeoutError,
)
from colabkit.runtime import base, env_file, frontend
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.runtime.hosts import colab, kaggle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._types import StrPath
    from colabkit.runtime.base import Probe

T = TypeVar("T")


class _Required:
    """Stands for a default that was not given; its repr is what a signature shows."""

    def __repr__(self) -> str:
        return "required"


_REQUIRED: Any = _Required()
_SILENCE = 60.0  # seconds for which a script takes a place for silent
_silent: dict[str, tuple[str, float, SecretError]] = {}
"""The places that made a cell wait in vain, with the cell and what was said: it is not asked again in that cell."""


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
@hides_locals
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
        SecretTimeoutError: The place that may have it did not answer; this cell does not ask it again.
        NoBrowserError: Only a browser could give it, and there is none.

    Example:
        >>> secret("HF_TOKEN", env={"HF_TOKEN": "a-token"})
        <secret of 7 characters>
        >>> secret("WANDB_API_KEY", default=None) is None
        True
    """
    _check(name)
    env = config.environment(env)
    place = base.here(env=env)
    refusals: dict[str, SecretError] = {}
    for title, ask in _PLACES.items():
        try:
            value = _ask_once(title, ask, name, place, Path(file))
        except SecretError as error:
            refusals[title] = error
        else:
            if value:
                return Secret(value)
    refused = next((refusal for kind in _KINDS for refusal in refusals.values() if type(refusal) is kind), None)
    if default is not _REQUIRED:
        if refused is not None:
            warn("%s is treated as missing: %s", name, refused.what)
        return default
    obstacle = _no_prompt(place) if prompt else "not to be asked"
    if not obstacle and isinstance(refused, SecretAccessError):
        obstacle = "not asked, as the secret is there"
    elif not obstacle:
        obstacle = "nothing was typed"
        if typed := _ask_user(name):
            return Secret(typed)
    raise _failure(name, refused, refusals, obstacle)


_KINDS = (SecretAccessError, SecretTimeoutError, NoBrowserError, SecretError)
"""Which refusal is told first: the one the user can do most about."""


def _from_environment(name: str, place: Probe, file: Path) -> str | None:  # noqa: ARG001 - all places are asked alike
    return place.env.get(name)


def _from_file(name: str, place: Probe, file: Path) -> str | None:
    return env_file.read(place.cwd / file.expanduser(), name)


def _from_colab(name: str, place: Probe, file: Path) -> str | None:  # noqa: ARG001
    return colab.secret(name) if frontend_rpc.is_kernel(place.shell) and not place.env.get(kaggle.MARK) else None


def _from_kaggle(name: str, place: Probe, file: Path) -> str | None:  # noqa: ARG001
    return kaggle.secret(name) if place.env.get(kaggle.MARK) else None


_PLACES = {
    "Colab": _from_colab,
    "Kaggle": _from_kaggle,
    "the environment": _from_environment,
    "the .env file": _from_file,
}


def _ask_once(title: str, ask: Any, name: str, place: Probe, file: Path) -> str | None:
    with frontend_rpc.lock:  # so that two threads do not wait in vain for the same
        cell, until, error = _silent.get(title, ("", 0.0, None))
        # A script has no cells: there a silence counts for a while, so that a list of keys waits once.
        if error is not None and cell == frontend_rpc.running_cell() and (cell or time.monotonic() < until):
            raise _copy(error)
        try:
            value: str | None = ask(name, place, file)
        except (SecretTimeoutError, NoBrowserError) as error:
            _silent[title] = frontend_rpc.running_cell(), time.monotonic() + _SILENCE, _copy(error)
            raise
        return value


def _copy(error: SecretError) -> SecretError:
    return type(error)(error.what, why=error.why, hint=error.do)  # without the frames that a traceback keeps alive


def _check(name: str) -> None:
    if not isinstance(name, str):
        raise AddressError(
            f"{name!r:.100} cannot be the name of a secret",
            why=f"it is of the type {type(name).__name__}",
            hint='name one, like "HF_TOKEN"; for several call it once for each',
        )
    if not name or any(letter.isspace() or letter in "=\0" for letter in name):
        raise AddressError(
            f"{name!r} cannot be the name of a secret",
            why="it is empty, or has a space or = in it",
            hint='name it like "HF_TOKEN"',
        )


def _no_prompt(place: Probe) -> str:
    """Say why the user cannot be asked, "" if they can."""
    frontend_name = frontend.detect_frontend(place.shell, place.env)
    if frontend_name == "headless":
        return "nobody watches this run"
    if frontend_name in ("none", "terminal", "marimo"):
        if place.shell is None and (place.env.get("JPY_PARENT_PID") or place.env.get(colab.TAG)):
            return "this is a subprocess of a notebook"
        return "" if sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() else "there is no terminal"
    if not frontend_rpc.may_ask():
        return "this is another thread than the cell's"
    if frontend_rpc.is_known_without_browser() and frontend_name != "vscode":
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
        hint=refused.do if refused is not None else f"add it to the notebook's secrets, or set the variable {name}",
    )
