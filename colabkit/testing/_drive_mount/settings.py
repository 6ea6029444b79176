"""How a Drive folder behaves, handed from the test to the daemon through one small file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from colabkit._internal.disk.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["look", "list", "read", "write"]
"""What is done to the folder: attributes, listings, reading, and all that changes something."""

KINDS: tuple[Kind, ...] = ("look", "list", "read", "write")


@dataclass(frozen=True, kw_only=True)
class DriveSettings:
    """The weather of a Drive folder.

    Attributes:
        latency: Seconds that each operation takes.
        lag: Seconds that a changed file rests before its upload begins.
        rate: Bytes a second that are uploaded.
        quota: Bytes that the cloud and its trash may hold together; what does not fit is never uploaded, and only the
            log says so.
        offline: Nothing reaches the cloud, and nothing says so.
        eio: The probability that an operation fails with EIO: one for all kinds, or one for each kind.
        stall: Seconds that an operation hangs: for all kinds, or for each kind. A change ends a stall at once.
        listing: The share of its names that a folder shows: 0.5 is half a listing.
        die_after: The daemon is killed when so many bytes have been written through it since the mount.
        nfc: Names are kept and listed in Unicode's composed form, whatever they were written in.
        seed: Fixes the order of uploads and which operations fail.
    """

    latency: float = 0.0
    lag: float = 0.2
    rate: float = 100e6
    quota: float = 15e9
    offline: bool = False
    eio: float | Mapping[Kind, float] = 0.0
    stall: float | Mapping[Kind, float] = 0.0
    listing: float = 1.0
    die_after: int | None = None
    nfc: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("eio", "stall"):
            value = getattr(self, name)
            if isinstance(value, Mapping) and set(value) - set(KINDS):
                raise ValueError(f"{name} knows {', '.join(KINDS)}, not {', '.join(sorted(set(value) - set(KINDS)))}")

    def of(self, name: Literal["eio", "stall"], kind: Kind) -> float:
        """Return the probability or the seconds for one kind of operation.

        Example:
            >>> DriveSettings(eio={"read": 1.0}).of("eio", "write")
            0.0
        """
        value = cast("float | Mapping[Kind, float]", getattr(self, name))
        return value.get(kind, 0.0) if isinstance(value, Mapping) else value

    def save(self, path: Path) -> None:
        """Write the file that the daemon reads."""
        write_json(path, dataclasses.asdict(self))


class SettingsFile:
    """The settings as a file has them at each moment; the file is read again only when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._now = DriveSettings()

    @property
    def now(self) -> DriveSettings:
        """What the file says now."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_mtime_ns)
            if stamp != self._stamp:
                values: dict[str, Any] = json.loads(self._path.read_text())
                self._now, self._stamp = DriveSettings(**values), stamp
        except FileNotFoundError:
            self._stamp = None
        return self._now
