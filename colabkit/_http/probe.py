"""What tells one version of a file on the web from the next, asked for without any of its bytes."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from colabkit._http.client import REDIRECTS
from colabkit._http.service import ApiSession
from colabkit._http.url import may_keep_secrets, origin, shown
from colabkit.errors import AccessError, NotFoundError

if TYPE_CHECKING:
    from colabkit._http.types import RequestSpec

_MOST_REDIRECTS = 10
_READ = 20.0


def validator(target: RequestSpec) -> str:
    """Return an entity tag, or a date with a size; "" where the server tells neither, or answers no such question.

    Raises:
        NotFoundError: The server has no such file any more.
        AccessError: It requires a login.
        TransientError: No answer came.
    """
    url, headers = target.url, dict(target.headers)
    for _ in range(_MOST_REDIRECTS):
        session = ApiSession(origin(url), tries=0)
        answer = session.send("HEAD", url, {"Accept-Encoding": "identity", **headers}, None, shown(url), read=_READ)
        answer.close()
        if answer.status_code in REDIRECTS and (location := answer.headers.get("Location")):
            following = urllib.parse.urljoin(url, location)
            headers = headers if may_keep_secrets(url, following) else {}
            url = following
            continue
        break
    if answer.status_code in (404, 410):
        raise NotFoundError(
            f"there is nothing at {shown(target.url)} any more", why=f"the server answered {answer.status_code}"
        )
    if answer.status_code == 401:
        raise AccessError(f"{shown(target.url)} requires a login", why="the server answered 401")
    if answer.status_code != 200:
        return ""
    tag = answer.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    modified, size = answer.headers.get("Last-Modified", ""), answer.headers.get("Content-Length", "")
    return f"{modified} {size}" if modified else tag
