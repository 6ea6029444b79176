"""Kaggle's credentials: looked for where Kaggle's own programs look, in their order, each place on its own."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._tools.files import PART, writing_to
from colabkit._tools.log import say, warn
from colabkit.errors import AccessError
from colabkit.runtime import base, colab_requests, frontend
from colabkit.runtime.secrets import secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOTEBOOK_TOKEN = "KAGGLE_API_V1_TOKEN"  # noqa: S105 - the name of a variable
TOKEN = "KAGGLE_API_TOKEN"  # noqa: S105
USERNAME, KEY = "KAGGLE_USERNAME", "KAGGLE_KEY"
CONFIG_DIR = "KAGGLE_CONFIG_DIR"
PLACES = (
    f"{TOKEN}, ~/.kaggle/access_token, {USERNAME} with {KEY}, ~/.kaggle/kaggle.json, and the notebook's secrets of "
    "those names"
)
GET_ONE = f"make a token on https://www.kaggle.com/settings and put it into the secret or variable {TOKEN}"
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


def logins(env: Mapping[str, str] = os.environ) -> Iterator[Login]:
    """Yield the credentials that there are, one after the other; a place that is broken does not hide the next.

    Notebook secrets come last, and are asked for only when nothing before them was accepted.
    """
    for place, token in _tokens(env):
        if token:
            yield _bearer(token, place)
    if env.get(USERNAME) and env.get(KEY):
        yield _basic(env[USERNAME], env[KEY], f"{USERNAME} and {KEY}")
    for file in _key_files(env):
        if login := _from_key_file(file):
            yield login
    if token := _signed_in_token(_home() / "credentials.json"):
        yield _bearer(token, "~/.kaggle/credentials.json")
    yield from _secrets(env)


def _home() -> Path:
    return Path("~/.kaggle").expanduser()


def _tokens(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if file := env.get(NOTEBOOK_TOKEN):
        yield NOTEBOOK_TOKEN, _read(Path(file))
    if given := env.get(TOKEN, "").strip():
        path = Path(given)
        yield TOKEN, _read(path) if "/" in given and path.is_file() else given
    for name in ("access_token", "access_token.txt"):
        yield f"~/.kaggle/{name}", _read(_home() / name)


def _key_files(env: Mapping[str, str]) -> list[Path]:
    folder = env.get(CONFIG_DIR)
    return [Path(folder) / "kaggle.json"] if folder else [_home() / "kaggle.json"]


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
        warn("%s is passed over: it is not a key that Kaggle made; make a new one on kaggle.com/settings", path)
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


def _signed_in_token(path: Path) -> str:
    """Return the token that `kaggle auth login` left, while it is good; renewing it is that program's business."""
    try:
        value = json.loads(_read(path) or "{}")
        ends = dt.datetime.fromisoformat(value["access_token_expiration"])
        token = value["access_token"]
        good = ends > dt.datetime.now(ends.tzinfo)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return token if good and isinstance(token, str) else ""


def _secrets(env: Mapping[str, str]) -> Iterator[Login]:
    # Each of the three is asked for on its own: a missing token must not hide the older pair.
    if token := secret(TOKEN, None, prompt=False, env=env):
        yield _bearer(token, f"the secret {TOKEN}")
    username, key = (secret(name, None, prompt=False, env=env) for name in (USERNAME, KEY))
    if username and key:
        yield _basic(username, key, f"the secrets {USERNAME} and {KEY}")


def _bearer(token: str, place: str) -> Login:
    return Login(authorization=f"Bearer {_clean(token, place)}", place=place)


def _basic(username: str, key: str, place: str) -> Login:
    pair = f"{_clean(username, place)}:{_clean(key, place)}"
    return Login(authorization="Basic " + base64.b64encode(pair.encode()).decode(), place=place)


def _clean(text: str, place: str) -> str:
    text = "".join(str(text).split())  # what is copied from a page may come with line breaks
    if not text.isascii() or not text.isprintable():
        raise AccessError(f"what {place} holds is no token of Kaggle's", why="it has letters no token has", do=GET_ONE)
    return text


def upload_key(env: Mapping[str, str] = os.environ) -> Login | None:
    """Offer to upload a kaggle.json where Colab's page can, and keep it for the next time, readable by the user only.

    None where there is no such page, or the user does not want to.
    """
    place = base.here(env=env)
    if not (colab_requests.is_kernel(place.shell) and colab_requests.may_ask()):
        return None
    if frontend.told_by(place.shell, env) != "browser":
        return None
    from google.colab import files

    say("Kaggle wants to know who asks: choose your kaggle.json (from https://www.kaggle.com/settings), or cancel")
    # upload() leaves what it gets in a file: this folder is ours alone, and gone afterwards.
    with tempfile.TemporaryDirectory(prefix="colabkit-key-") as folder:
        uploaded = files.upload(folder)
    for name, data in uploaded.items():
        text = data.decode("utf-8", "replace")
        if pair := _pair(text):
            path = _key_files(env)[0]
            _keep(path, text)
            say("your Kaggle key is kept in %s, readable by you only", path)
            return _basic(*pair, str(path))
        warn("%s is no kaggle.json; nothing of it was kept", name)
    return None


def _keep(path: Path, text: str) -> None:
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{path.name}{PART}{os.getpid()}")
        temporary.unlink(missing_ok=True)
        try:
            # The mode is there before the first byte is.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
