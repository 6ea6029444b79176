"""Transfers: `fetch()` brings a file here, `push()` to a place that lasts, whole and verified or not at all."""

from __future__ import annotations

from colabkit.transfer._fetch import fetch, fetch_details
from colabkit.transfer._here import here, is_public
from colabkit.transfer._job import Fetched
from colabkit.transfer._push import Pushed, push, push_details
from colabkit.transfer.cache import Receipt, listing

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
