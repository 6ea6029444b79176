"""Addresses whose scheme nobody here knows: refused, with the one that was meant, instead of read as a path."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]+):")  # two letters at least: C:\ is a path
_MISTYPED = re.compile(r"\s*([^/\\:;]{2,20})[:;]//|\s*(gs|https?|hf|s3|kaggle|drive)//")  # "gs;//", "g s://", "gs//"
_REMOTE = re.compile(r"\s*([\w.+-]+@[\w.-]+):(?!//)")  # as scp names another machine
_ADVICE = {
    "s3": "use the object's https address, or a signed one",
    "r2": "use the object's https address, or a signed one",
    "az": "use the blob's https address with its signature",
    "abfs": "use the blob's https address with its signature",
    "gcs": "write gs://BUCKET/OBJECT",
    "gdrive": "write drive:PATH, or paste the share link",
    "dropbox": "paste the share link with dl=1 at its end",
    "hdfs": "use the file's https address of WebHDFS, or copy it here with hdfs dfs -get",
    "ftp": "use an https address of the file",
    "huggingface": "write hf:OWNER/NAME",
}
_PUSH_ADVICE = {
    "gdrive": "write drive:PATH",
    "https": "push to gs://BUCKET/FOLDER/, drive:FOLDER/, kaggle:OWNER/DATASET, hf:OWNER/NAME or a path",
    "http": "push to gs://BUCKET/FOLDER/, drive:FOLDER/, kaggle:OWNER/DATASET, hf:OWNER/NAME or a path",
}
_ON_DRIVE = (
    "of a folder on your Drive write the names that lead to it, as in drive:FOLDER/; a share link only brings files"
)


def unknown(text: str) -> str:
    """Return the scheme of an address that is no path, or "": what is there under that very name is a path.

    Example:
        >>> unknown("kagle:ada/digits"), unknown("data/digits.csv"), unknown("notes: 7.txt"), unknown("C:/data")
        ('kagle', '', '', '')
        >>> unknown("gs;//bucket/x"), unknown("g s://bucket/x"), unknown("gs//bucket/x"), unknown("ada@host:/x")
        ('gs', 'g s', 'gs', 'ada@host')
    """
    match = _SCHEME.match(text) or _MISTYPED.match(text) or _REMOTE.match(text)
    if match is None or (name := match[1] or match[2]).lower() == "file":
        return ""
    rest = text[match.end() :]
    if rest[:1].isspace() or "/" in name:
        return ""
    from pathlib import Path

    try:
        # An old file of such a name can still be fetched, and replaced.
        return "" if Path(text).exists() else name
    except (OSError, ValueError):
        return name


def refused(text: str, scheme: str, verb: str, takes: Sequence[str], schemes: Sequence[str]) -> AddressError:
    """Make the error for an address that cannot be read.

    Args:
        text: The address.
        scheme: Its scheme.
        verb: What cannot be done, as in "push to".
        takes: What can be read.
        schemes: The schemes that are known, for what was meant.
    """
    near = difflib.get_close_matches(f"{scheme.lower()}:", schemes, n=1, cutoff=0.7)
    known = _ADVICE if verb == "fetch from" else _ADVICE | _PUSH_ADVICE
    advice = known.get(scheme.lower(), "use an https address, or scp" if "@" in scheme else "")
    if verb != "fetch from" and "google.com/" in text:
        advice = _ON_DRIVE
    if near and scheme.lower() not in known:
        rest = text.strip()[len(scheme) :].lstrip(":;").rstrip("\"'`>)]")  # it was quoted, or a link of a text
        shown = "" if "@" in rest else rest[:60]
        advice = f"did you mean {near[0]}{shown}?"
    path = "for a file of this very name on this machine write ./ before it"
    return AddressError(
        f"cannot {verb} {scheme[:20]}:{'//' if '://' in text else ''} addresses",
        why=f"known are {', '.join(takes)}, and paths",
        hint=f"{advice}; {path}" if advice else path,
    )
