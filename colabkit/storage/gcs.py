"""A bucket of Google Cloud Storage, or a folder in one, as a storage: each call is one step for every reader."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._clients import gcs
from colabkit._clients.gcs import ConditionError
from colabkit._clients.gcs.address import GcsAddress, parse
from colabkit._clients.gcs.address import check_name as check_object_name
from colabkit._clients.gcs.file import GcsFile
from colabkit._engine.fetch_task import FetchTask, Options
from colabkit._engine.uploads.gcs import ABSENT, Place, upload_bytes, upload_file
from colabkit.errors import (
    AddressError,
    ChangedError,
    ColabKitError,
    NotFoundError,
    TransferError,
)
from colabkit.storage.base import Stored, check_name, is_name, not_stored, unreachable
from colabkit.storage.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit._clients.gcs import Api, GcsObject
    from colabkit._types import StrPath
    from colabkit.storage.base import Confirmed, OnlyIf, Progress

_TRIES = 2
"""Failures that a call forgives; whoever called decides about more."""


def open_gcs(rest: str) -> GcsStorage:
    """Open a folder of a bucket; nothing is asked of the service.

    Raises:
        AddressError: It is no gs:// address, or names a generation or a pattern.
    """
    address = parse(f"gs:{rest}")
    if address.generation or address.is_glob:
        raise AddressError(
            f"{address} is not a folder", why="it names one version, or many objects", hint="name a folder"
        )
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
        return self._own_api or gcs.connect(tries=_TRIES)

    # ---- the contract ----

    def put(
        self, name: str, source: bytes | StrPath, *, only_if: OnlyIf = None, progress: Progress | None = None
    ) -> Stored:
        """Store an object; a large file goes on where another process was killed with it."""
        generation = ABSENT if only_if == "absent" else "" if only_if is None else only_if.version
        place = Place(bucket=self._bucket, name=self._full(name), generation=generation)

        def watch(done: float, total: float | None) -> None:
            if progress is not None:
                progress(int(done), int(total or 0))

        with self._translated(name):
            if isinstance(source, bytes):
                made = upload_bytes(self._api, place, source, watch)
            else:
                made = upload_file(self._api, place, Path(source), watch)
        return self._stored(made)

    def get(self, name: str, path: StrPath, *, progress: Progress | None = None) -> Stored:
        """Copy an object into a file, over several connections when it is large."""
        with self._translated(name):
            blob = self._api.object(self._bucket, self._full(name))
            address = GcsAddress(bucket=self._bucket, name=blob.name)
            source = GcsFile(address=address, known=blob, api=self._api)

            def show(done: float, total: float | None) -> None:
                if progress is not None:
                    progress(int(done), int(total or blob.size))

            FetchTask(source, Path(path), Options(use_cache=False, overwrite=True, unpack=False, show=show)).run()
        return self._stored(source.asked[-1])  # the generation that came, if it was replaced meanwhile

    def read(self, name: str, *, size: int | None = None) -> bytes:
        with self._translated(name):
            return self._api.read(self._bucket, self._full(name), size)

    def entry(self, name: str) -> Stored | None:
        with self._translated(name):
            blob = self._api.find(self._bucket, self._full(name))
            return None if blob is None else self._stored(blob)

    def list(self, prefix: str = "") -> Sequence[Stored]:
        with self._translated(prefix or "the list"):
            return Listing(
                self._stored(blob)
                for blob in self._api.objects(self._bucket, self._prefix + prefix)
                if is_name(blob.name[len(self._prefix) :])
            )

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
        check_object_name(full)
        return full

    def _stored(self, blob: GcsObject) -> Stored:
        return Stored(
            name=blob.name[len(self._prefix) :], size=blob.size, modified=blob.updated, version=blob.generation
        )

    @contextlib.contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except ConditionError:
            raise ChangedError(
                f"{name} in {self.address} was written by someone else",
                why="it is not the version that was to be replaced",
                hint="look at what is there now, then decide again",
            ) from None
        except NotFoundError as error:
            if error.what.startswith(gcs.NO_BUCKET):
                raise
            raise not_stored(name, self.address) from error
        except TransferError as error:
            if type(error) is not TransferError:
                raise
            raise unreachable(name, self.address, error) from error
