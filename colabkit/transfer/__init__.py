"""Transfers: `fetch()` brings a file here, `push()` to a place that lasts, whole and verified or not at all."""

from __future__ import annotations

# Each name is imported when it is first used: who asks where a thing lies waits for nothing that moves it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit._engine.cache import CacheEntry as CacheEntry
    from colabkit._engine.cache import listing as listing
    from colabkit._engine.fetch_task import Fetched as Fetched
    from colabkit.transfer.fetching import fetch as fetch
    from colabkit.transfer.fetching import fetch_details as fetch_details
    from colabkit.transfer.lookup import here as here
    from colabkit.transfer.lookup import is_public as is_public
    from colabkit.transfer.pushing import Pushed as Pushed
    from colabkit.transfer.pushing import push as push
    from colabkit.transfer.pushing import push_details as push_details
else:
    _HOMES = {
        "Fetched": "colabkit._engine.fetch_task",
        "Pushed": "colabkit.transfer.pushing",
        "CacheEntry": "colabkit._engine.cache",
        "fetch": "colabkit.transfer.fetching",
        "fetch_details": "colabkit.transfer.fetching",
        "here": "colabkit.transfer.lookup",
        "is_public": "colabkit.transfer.lookup",
        "listing": "colabkit._engine.cache",
        "push": "colabkit.transfer.pushing",
        "push_details": "colabkit.transfer.pushing",
    }

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value


__all__ = [
    "CacheEntry",
    "Fetched",
    "Pushed",
    "fetch",
    "fetch_details",
    "here",
    "is_public",
    "listing",
    "push",
    "push_details",
]
