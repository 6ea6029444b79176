"""Logins of ~/.netrc, which is read again only when it changes."""

from __future__ import annotations

import base64
import contextlib
import functools
import os
import urllib.parse


def netrc_login(url: str, *, default: bool) -> str:
    """Return the Authorization header that ~/.netrc has for the host of an address, or "".

    Args:
        url: The address.
        default: The `default` entry counts too; it is meant for hosts that the user named.
    """
    named = os.environ.get("NETRC")
    home = os.environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - asked for each address of a list
    for path in [named] if named else [f"{home}/.netrc", f"{home}/_netrc"]:
        with contextlib.suppress(OSError, ValueError):
            hosts = _hosts(path, os.stat(path).st_mtime_ns)  # noqa: PTH116 - asked for each address of a list
            name = urllib.parse.urlsplit(url).hostname or ""  # as the connection does: another reading is a leak
            login = hosts.get(name) or (hosts.get("default") if default else None)
            return "" if login is None else "Basic " + base64.b64encode(":".join(login).encode()).decode()
    return ""


@functools.lru_cache(maxsize=4)
def _hosts(path: str, modified: int) -> dict[str, tuple[str, str]]:  # noqa: ARG001 - a changed file is read again
    import netrc

    with contextlib.suppress(Exception):  # a file that cannot be read has nothing for anybody
        hosts = netrc.netrc(path).hosts
        return {host: (login or account or "", password or "") for host, (login, account, password) in hosts.items()}
    return {}
