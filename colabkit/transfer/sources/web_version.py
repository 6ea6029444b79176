"""What tells one version of a file on the web from the next, asked for without any of its bytes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from colabkit._http.client import HTTPClient
from colabkit._http.url import shown
from colabkit.errors import AccessError, NotFoundError

if TYPE_CHECKING:
    from colabkit._http.types import RequestSpec


def validator(target: RequestSpec) -> str:
    """Return an entity tag, or a date with a size; "" where the server tells neither, or answers no such question.

    Raises:
        NotFoundError: The server has no such file any more.
        AccessError: It requires a login.
        TransientError: No answer came.
    """
    with contextlib.closing(HTTPClient(1)) as client:
        status, headers = client.head(target)
    if status in (404, 410):
        raise NotFoundError(f"there is nothing at {shown(target.url)} any more", why=f"the server answered {status}")
    if status == 401:
        raise AccessError(f"{shown(target.url)} requires a login", why="the server answered 401")
    if status != 200:
        return ""
    tag = headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    modified, size = headers.get("Last-Modified", ""), headers.get("Content-Length", "")
    return f"{modified} {size}" if modified else tag
