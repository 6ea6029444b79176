"""Transfers: `fetch()` brings a file here, whole and verified or not at all."""

from __future__ import annotations

from colabkit.transfer._fetch import fetch, fetch_details
from colabkit.transfer._here import here, is_public
from colabkit.transfer._job import Fetched
from colabkit.transfer.cache import Receipt, listing

__all__ = ["Fetched", "Receipt", "fetch", "fetch_details", "here", "is_public", "listing"]
