"""What google.colab raises when a mount fails, in our words: one ValueError there, a class for each cause here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.drive import log as _log
from colabkit.errors import (
    DriveConsentError,
    DriveError,
    DrivePolicyError,
    DriveQuotaError,
    DriveStoppedError,
    DriveTimeoutError,
    DriveUnansweredError,
    MountPointError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.errors import ColabKitError

AGAIN = "call drive.mount() again"


def translate(error: Exception, mountpoint: Path, *, log: list[str], has_ended: bool) -> ColabKitError:
    """Turn what google.colab's mount raised into one of ours.

    Args:
        error: What it raised.
        mountpoint: Where Drive was to be mounted.
        log: The lines that DriveFS' log got meanwhile.
        has_ended: Whether it ended before the time for the user's answer was over.
    """
    what = f"Drive was not mounted at {mountpoint}"
    words = str(error)
    if isinstance(error, NotImplementedError):
        return UnsupportedError(what, why=words, hint="keep files in Cloud Storage, or fetch them by their Drive link")
    if isinstance(error, KeyError):
        why = f"this machine has no service that hands out Drive's permission ({words.strip(chr(39))} is not set)"
        return DriveError(what, why=why, hint="start a new runtime (Runtime, Disconnect and delete runtime)")
    if type(error).__name__ == "MessageError":
        return DriveConsentError(what, why=f"access was refused, or could not be passed on ({words})", hint=_CONSENT)
    if type(error).__module__.partition(".")[0] == "pexpect":
        why = "; ".join(filter(None, ("Drive's program came to no end", _log.quoted(log))))
        return DriveTimeoutError(what, why=why, hint=f"{AGAIN} with a larger timeout_ms")
    if "domain policy" in words:
        why = "the account's organisation has switched off Drive on computers"
        return DrivePolicyError(what, why=why, hint=f"ask its administrator ({_POLICY}), or use another account")
    if words.startswith("Mountpoint "):
        return MountPointError(
            what, why=words, hint="choose an empty folder inside an existing one, such as /content/drive"
        )
    return _stopped(what, words, log, has_ended=has_ended)


_POLICY = "https://support.google.com/a/answer/7496409"
_CONSENT = (
    f"{AGAIN} and allow the access, in the account whose notebook this is; allow third-party cookies and pop-ups "
    "of colab.research.google.com if no dialog comes"
)


def _stopped(what: str, words: str, log: list[str], *, has_ended: bool) -> DriveError:
    text = "\n".join(log)
    quoted = _log.quoted(log)
    if _log.QUOTA in text:
        return DriveQuotaError(what, why=quoted, hint=QUOTA)
    # google.colab searches the whole log, and so blames an earlier attempt's words on this one.
    if _log.CROWDED in text:
        why = f"reading the root folder of Drive took too long; {quoted}"
        return DriveTimeoutError(what, why=why, hint=f"{AGAIN}: it continues where it was; {_CROWDED}")
    if not has_ended:
        why = "nobody answered the question for access"
        return DriveUnansweredError(what, why=why, hint=f"{AGAIN} and answer the dialog in the notebook's page")
    why = "; ".join(filter(None, (f"Drive's program ended ({words})", quoted)))
    return DriveStoppedError(what, why=why, hint=f"{AGAIN}; if it ends again, start a new runtime")


QUOTA = (
    "empty Drive's trash, which counts; if there is room, too much was read or written today: "
    "wait some hours, and move many small files as one archive"
)
_CROWDED = "move files out of the root of My Drive into folders, a few hundred entries at most"
