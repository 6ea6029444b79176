"""A bucket of Google Cloud Storage, or a folder in one, as a storage: each call is one step for every reader."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit.errors import (
    AddressError,
    ChangedError,
    ColabKitError,
    NotFoundError,
    NotStoredError,
    TransferError,
    UnreachableError,
)
from colabkit.storage.base import Stored, check_name
from colabkit.transfer import _gcs, _gcs_api, _push_gcs
from colabkit.transfer._gcs_api import ConditionError
from colabkit.transfer._gcs_upload import Place
from colabkit.transfer._job import Job, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress
    from colabkit.transfer._gcs_api import Api, GcsObject

_TRIES = 2
"""Failures that a call forgives; whoever called decides about more."""


def open_gcs(rest: str) -> GcsStorage:
    """Open a folder of a bucket; nothing is asked of the service.

    Raises:
        AddressError: It is no gs:// address, or names a generation or a pattern.
    """
    address = _gcs.parse(f"gs:{rest}")
    if address.generation or address.is_glob:
        raise AddressError(f"{address} is no folder", why="it names one version, or many objects", do="name a folder")
    folder = address.name.rstrip("/")
    if folder:
        check_name(folder)
    return GcsStorage(address.bucket, folder)


class GcsStorage:
    """Objects below a folder of a bucket.

    Args:
        bucket: The bucket; it must exist.
        folder: What their names begin with, without the slash at its end; "" for the whole bucket.
        api: Sends the requests; the one that fits the environment by default.
    """

    lag = 0.0
    atomic = True

    def __init__(self, bucket: str, folder: str = "", *, api: Api | None = None) -> None:
        self.address = f"gs://{bucket}/{folder}" if folder else f"gs://{bucket}"
        self._bucket = bucket
        self._prefix = f"{folder}/" if folder else ""
        self._own_api = api

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    @property
    def _api(self) -> Api:
        return self._own_api or _gcs_api.connect(tries=_TRIES)

    # ---- the contract ----

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object; a large file goes on where another process was killed with it."""
        generation = _push_gcs.ABSENT if only_if == "absent" else "" if only_if is None else only_if.version
        place = Place(bucket=self._bucket, name=self._full(name), generation=generation)

        def watch(done: float, total: float | None) -> None:
            if progress is not None:
                progress(int(done), int(total or 0))

        with self._translated(name):
            if isinstance(source, bytes):
                made = _push_gcs.upload_bytes(self._api, place, source, watch)
            else:
                made = _push_gcs.upload_file(self._api, place, Path(source), watch)
        return self._stored(made)

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a file, over several connections when it is large."""
        with self._translated(name):
            found = self._api.object(self._bucket, self._full(name))
            address = _gcs.GcsAddress(bucket=self._bucket, name=found.name)
            source = _gcs.GcsFile(address=address, known=found, api=self._api)

            def show(done: float, total: float | None) -> None:
                if progress is not None:
                    progress(int(done), int(total or found.size))

            Job(source, Path(path), Options(use_cache=False, overwrite=True, unpack=False, show=show)).run()
        return self._stored(source.asked[-1])  # the generation that came, if it was replaced meanwhile

    def read(self, name: str, *, size: int | None = None) -> bytes:
        with self._translated(name):
            return self._api.read(self._bucket, self._full(name), size)

    def entry(self, name: str) -> Stored | None:
        with self._translated(name):
            found = self._api.find(self._bucket, self._full(name))
            return None if found is None else self._stored(found)

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with self._translated(prefix or "the list"):
            return [
                self._stored(found)
                for found in self._api.objects(self._bucket, self._prefix + prefix)
                if _is_ours(found.name[len(self._prefix) :])
            ]

    def delete(self, name: str) -> None:
        with self._translated(name):
            self._api.delete(self._bucket, self._full(name))

    def confirmed(self, name: str) -> Confirmed:
        """Say "yes" for every object that the service knows: it has stored it before it answered."""
        try:
            return "yes" if self.entry(name) is not None else "no"
        except AddressError:
            raise
        except ColabKitError:
            return "cannot tell"

    # ---- parts ----

    def _full(self, name: str) -> str:
        full = self._prefix + check_name(name)
        _gcs.check_name(full)
        return full

    def _stored(self, found: GcsObject) -> Stored:
        return Stored(
            name=found.name[len(self._prefix) :], size=found.size, modified=found.updated, version=found.generation
        )

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except ConditionError:
            raise ChangedError(
                f"{name} in {self.address} was written by someone else",
                why="it is another version than the one that was to be replaced",
                do="look at what is there now, then decide again",
            ) from None
        except NotFoundError as error:
            if error.what.startswith(_gcs_api.NO_BUCKET):
                raise
            raise NotStoredError(
                f"there is no {name} in {self.address}", do="list what there is, and check the spelling"
            ) from error
        except TransferError as error:
            if type(error) is not TransferError:
                raise
            raise UnreachableError(
                f"{self.address} does not answer, asked for {name}", why=error.why, do=error.do
            ) from error


def _is_ours(name: str) -> bool:
    """Say whether a storage may hold this name; others that lie in the bucket are passed over."""
    try:
        check_name(name)
    except AddressError:
        return False
    return True
