"""Transfers: `fetch()` brings a file here, `push()` to a place that lasts, whole and verified or not at all."""

from __future__ import annotations

# Each name is imported when it is first used: who asks where a thing lies waits for nothing that moves it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit.transfer._fetch import fetch as fetch
    from colabkit.transfer._fetch import fetch_details as fetch_details
    from colabkit.transfer._here import here as here
    from colabkit.transfer._here import is_public as is_public
    from colabkit.transfer._job import Fetched as Fetched
    from colabkit.transfer._push import Pushed as Pushed
    from colabkit.transfer._push import push as push
    from colabkit.transfer._push import push_details as push_details
    from colabkit.transfer.cache import Receipt as Receipt
    from colabkit.transfer.cache import listing as listing
else:
    _HOMES = {
        "Fetched": "colabkit.transfer._job",
        "Pushed": "colabkit.transfer._push",
        "Receipt": "colabkit.transfer.cache",
        "fetch": "colabkit.transfer._fetch",
        "fetch_details": "colabkit.transfer._fetch",
        "here": "colabkit.transfer._here",
        "is_public": "colabkit.transfer._here",
        "listing": "colabkit.transfer.cache",
        "push": "colabkit.transfer._push",
        "push_details": "colabkit.transfer._push",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value


__all__ = [
    "Fetched",
    "Pushed",
    "Receipt",
    "fetch",
    "fetch_details",
    "here",
    "is_public",
    "listing",
    "push",
    "push_details",
]
