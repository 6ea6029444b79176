"""Kaggle's credentials: looked for where Kaggle's own programs look, in their order, each place on its own."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._clients.kaggle import oauth as kaggle_oauth
from colabkit._internal.disk.files import TEMP_MARKER, map_os_errors
from colabkit._internal.log import notify, warn
from colabkit.runtime import base, frontend
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.runtime.secrets import secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTEBOOK_TOKEN = "KAGGLE_API_V1_TOKEN"  # noqa: S105 - the name of a variable
TOKEN = "KAGGLE_API_TOKEN"  # noqa: S105
USERNAME, KEY = "KAGGLE_USERNAME", "KAGGLE_KEY"
CONFIG_DIR = "KAGGLE_CONFIG_DIR"
PLACES = (
    f"{TOKEN}, ~/.kaggle/access_token, {USERNAME} with {KEY}, kaggle.json in ${CONFIG_DIR}, ~/.kaggle or "
    "~/.config/kaggle, ~/.kaggle/credentials.json, and the notebook's secrets of those names"
)
GET_TOKEN = f"make a token on https://www.kaggle.com/settings and put it into the secret or variable {TOKEN}"
_MOST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Login:
    """One way to say who asks.

    Attributes:
        authorization: The header.
        place: Where it was found, for messages.
    """

    authorization: str = field(repr=False)
    place: str


def logins(env: Mapping[str, str] | None = None) -> Iterator[Login]:
    """Yield the credentials that there are, one after the other; a place that is broken does not hide the next.

    Notebook secrets come last, and are asked for only when nothing before them was accepted.
    """
    env = config.environment(env)
    yield from near_logins(env)
    yield from _secrets(env)


def near_logins(env: Mapping[str, str]) -> Iterator[Login]:
    """Yield the credentials of variables and files; no notebook secret is asked for."""
    for place, token in _tokens(env):
        if token and (login := _bearer(token, place)):
            yield login
    if env.get(USERNAME) and env.get(KEY) and (login := _basic(env[USERNAME], env[KEY], f"{USERNAME} and {KEY}")):
        yield login
    for file in _key_files(env):
        if login := _from_key_file(file):
            yield login
    if (_home() / "credentials.json").is_file():
        for token in kaggle_oauth.tokens():
            if login := _bearer(token, kaggle_oauth.FILE):
                yield login


def _home() -> Path:
    return config.own_path("~/.kaggle")


def _tokens(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if file := env.get(NOTEBOOK_TOKEN):
        yield NOTEBOOK_TOKEN, _read(Path(file))
    if given := env.get(TOKEN, "").strip():
        path = Path(given)
        yield TOKEN, _read(path) if "/" in given and path.is_file() else given
    for name in ("access_token", "access_token.txt"):
        yield f"~/.kaggle/{name}", _read(_home() / name)


def _key_files(env: Mapping[str, str]) -> list[Path]:
    """Name the files that hold a key: first the one that Kaggle's program would read, then where others look."""
    xdg = env.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [env.get(CONFIG_DIR, ""), str(_home()), f"{xdg}/kaggle"]
    return [config.own_path(folder, env) / "kaggle.json" for folder in folders if folder]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _from_key_file(path: Path) -> Login | None:
    text = _read(path)
    if not text:
        return None
    pair = _pair(text)
    if pair is None:
        warn("%s is ignored: it is not a key from Kaggle; make a new one on kaggle.com/settings", path)
        return None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        warn("other users of this machine can read your Kaggle key; run: chmod 600 %s", path)
    return _basic(*pair, str(path))


def _pair(text: str) -> tuple[str, str] | None:
    try:
        value = json.loads(text)
        pair = value["username"].strip(), value["key"].strip()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return pair if all(pair) else None


def _secrets(env: Mapping[str, str]) -> Iterator[Login]:
    # Each of the three is asked for on its own: a missing token must not hide the older pair.
    token = secret(TOKEN, None, prompt=False, env=env)
    if token and (login := _bearer(token, f"the secret {TOKEN}")):
        yield login
    username, key = (secret(name, None, prompt=False, env=env) for name in (USERNAME, KEY))
    if username and key and (login := _basic(username, key, f"the secrets {USERNAME} and {KEY}")):
        yield login


def _bearer(token: str, place: str) -> Login | None:
    clean = _clean(token, place)
    return Login(authorization=f"Bearer {clean}", place=place) if clean else None


def _basic(username: str, key: str, place: str) -> Login | None:
    parts = _clean(username, place), _clean(key, place)
    pair = base64.b64encode(":".join(parts).encode()).decode()
    return Login(authorization=f"Basic {pair}", place=place) if all(parts) else None


def _clean(text: str, place: str) -> str:
    """Return what a place holds without line breaks; "" for what is not a token, which must not hide a right one."""
    text = "".join(str(text).split())  # what is copied from a page may come with line breaks
    if text.isascii() and text.isprintable():
        return text
    warn("%s is ignored: it does not hold a Kaggle token", place)
    return ""


_UPLOAD_SECONDS = 180.0
"""How long the dialog for a kaggle.json is waited for; google.colab itself would wait for ever."""


def upload_key(env: Mapping[str, str] | None = None) -> Login | None:
    """Offer to upload a kaggle.json where Colab's page can, and keep it for the next time, readable by the user only.

    None where there is no such page, or the user does not want to.
    """
    env = config.environment(env)
    place = base.here(env=env)
    if not (frontend_rpc.is_kernel(place.shell) and frontend_rpc.may_ask()):
        return None
    if frontend.detect_frontend(place.shell, env) != "browser":
        return None
    from google.colab import files

    notify("Kaggle requires a login: choose your kaggle.json (from https://www.kaggle.com/settings), or cancel")
    # upload() leaves what it gets in a file: this folder is ours alone, and gone afterwards.
    with tempfile.TemporaryDirectory(prefix="colabkit-key-") as folder:
        try:
            with frontend_rpc.limited(_UPLOAD_SECONDS):
                uploaded = files.upload(folder)
        except TimeoutError as error:
            warn("no kaggle.json was chosen: %s", error)
            return None
    for name, data in uploaded.items():
        text = data.decode("utf-8", "replace")
        if pair := _pair(text):
            path = _key_files(env)[0]
            _keep(path, text)
            notify("your Kaggle key is kept in %s, readable by you only", path)
            return _basic(*pair, str(path))
        warn("%s is not a kaggle.json; nothing was kept from it", name)
    return None


def _keep(path: Path, text: str) -> None:
    with map_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}{TEMP_MARKER}{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            # The mode is there before the first byte is.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
