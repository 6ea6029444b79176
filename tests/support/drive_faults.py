"""Each fault of a mounted Drive against each verb of a storage: what must hold, for the tests and for the table."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading

from colabkit.errors import ColabKitError
from colabkit.storage.drive import DriveStorage
from tests.support.waiting import wait_until

SIZE = 600_000
"""Bytes of each object; some calls of the mount each."""

FAULTS = (
    "EIO on read",
    "EIO on write",
    "stall",
    "daemon killed mid-write",
    "quota full",
    "offline",
    "half a listing",
)
VERBS = ("put", "get", "list", "delete")


def opened(drive):
    """Open the folder, as a new process would."""
    return DriveStorage(drive.path / "runs", mount=drive.path, address="drive:runs")


def outcome(drive, fault, verb, folder, *, seconds):
    """Use a storage under a fault, let the fault end, and look at what is there.

    Args:
        drive: A healthy `DriveFolder` with nothing in it.
        fault: One of `FAULTS`.
        verb: One of `VERBS`.
        folder: A folder for local files.
        seconds: How long a stall or an outage lasts.

    Returns:
        "right" or the name of the typed error; and what was lost or wrong without an error, "" if nothing was.
    """
    drive.unmount()
    drive.mount()  # it counts written bytes from now on
    storage = opened(drive)
    kept = {name: os.urandom(SIZE) for name in ("a", "b", "c", "d")}
    for name, content in kept.items():
        storage.put(name, content)
    drive.settle()
    new = {"a": os.urandom(SIZE), "e": os.urandom(SIZE)}
    done = []
    with _weather(drive, fault, verb, seconds):
        try:
            wrong = _do(storage, verb, kept, new, folder, done)
            said = "right"
        except ColabKitError as error:
            wrong, said = "", type(error).__name__
    if fault == "daemon killed mid-write":
        wait_until(lambda: drive.pid is None)  # it may be dying still
        drive.unmount()
        drive.mount()
    if verb == "put":
        kept |= {name: new[name] for name in done}
    if verb == "delete":
        del kept["a"]  # where it failed, a may be there or not
    return said, wrong or _lost(drive, kept, gone="a" if done == ["-a"] else None)


def _do(storage, verb, kept, new, folder, done):
    """Use a verb; return what came out wrong, and note in `done` what it says to have done."""
    if verb == "put":
        for name, content in new.items():
            storage.put(name, content)
            done.append(name)
    elif verb == "get":
        for name, content in kept.items():
            storage.get(name, folder / name)
            if (folder / name).read_bytes() != content:
                return f"other bytes of {name}"
    elif verb == "list":
        if (names := [stored.name for stored in storage.list()]) != sorted(kept):
            return f"listed {', '.join(names)}"
    else:
        storage.delete("a")
        done.append("-a")
    return ""


def _lost(drive, kept, *, gone):
    """Say what is not there as it was promised, on the mount or, in the end, in the cloud; "" if all is."""
    storage = opened(drive)
    listed = {stored.name for stored in storage.list()}
    drive.settle()
    for name, content in kept.items():
        if name not in listed or storage.read(name) != content:
            return f"{name} on the mount"
        if (drive.cloud / "runs" / name).read_bytes() != content:
            return f"{name} in the cloud"
    if gone is not None and (gone in listed or (drive.cloud / "runs" / gone).exists()):
        return f"{gone} is still there"
    return ""


@contextlib.contextmanager
def _weather(drive, fault, verb, seconds):
    """Let a fault strike while the block runs; an outage ends after its seconds."""
    calm = drive.settings
    drive.set(
        **{
            "EIO on read": {"eio": {"read": 1.0}},
            "EIO on write": {"eio": {"write": 0.5}},
            "stall": {"stall": seconds},
            "daemon killed mid-write": {"die_after": 4 * SIZE + SIZE // 2},
            "quota full": {"quota": 4 * SIZE + 1000.0},
            "offline": {"offline": True},
            "half a listing": {"listing": 0.5},
        }[fault]
    )
    if fault == "daemon killed mid-write" and verb != "put":
        with contextlib.suppress(OSError):  # another program's
            (drive.path / "other").write_bytes(bytes(SIZE))
    over = threading.Timer(seconds, lambda: drive.set(stall=0.0, offline=False))
    if fault in ("stall", "offline"):
        over.start()
    try:
        yield
    finally:
        if over.ident is not None:
            over.join()
        drive.set(**dataclasses.asdict(calm))
