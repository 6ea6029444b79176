"""The sign-in that `kaggle auth login` leaves: its token lives for hours, and is renewed by the one that lives on."""

from __future__ import annotations

import datetime as dt
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients.kaggle.requests import address, renewal
from colabkit._http.json_api import ask
from colabkit._internal.disk.files import map_os_errors, write_json
from colabkit._internal.log import warn
from colabkit.errors import ColabKitError, OfflineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "~/.kaggle/credentials.json"
_MOST = 1 << 16
_MARGIN = dt.timedelta(minutes=1)
_TRIES = 2


def tokens() -> Iterator[str]:
    """Yield the access token while it is good, then a new one: who asks for the next was refused with the last."""
    path = config.own_path(FILE)
    value = _read(path)
    token, refresh = value.get("access_token"), value.get("refresh_token")
    if isinstance(token, str) and token and _is_good(value.get("access_token_expiration")):
        yield token
    if isinstance(refresh, str) and refresh and (renewed := _renewed(refresh, path, value)):
        yield renewed


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_good(ends: Any) -> bool:
    try:
        end = dt.datetime.fromisoformat(ends)
        return end - _MARGIN > dt.datetime.now(end.tzinfo)
    except (ValueError, TypeError, OverflowError):
        return False


def _renewed(refresh: str, path: Path, value: dict[str, Any]) -> str:
    request = renewal(refresh)
    try:
        reply = ask(
            address(request.method), what="cannot renew the sign-in to Kaggle", value=request.body, tries=_TRIES
        )
    except OfflineError:
        raise
    except ColabKitError as error:
        warn("the sign-in in %s cannot be renewed now: %s", FILE, error.why)
        return ""
    answer = request.read(reply.value())
    token = getattr(answer, "token", None)
    if reply.status != HTTPStatus.OK or not isinstance(token, str) or not token:
        warn("the sign-in in %s has expired or was revoked; run: kaggle auth login", FILE)
        return ""
    seconds = getattr(answer, "expires_in", 0)
    ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds if isinstance(seconds, int) else 0)
    try:
        with map_os_errors(path):
            write_json(path, {**value, "access_token": token, "access_token_expiration": ends.isoformat()}, mode=0o600)
    except ColabKitError:
        pass  # it is good for this time
    return token
