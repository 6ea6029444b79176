"""DriveFS' own log: what went wrong lately, in its words, without anything secret."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

FOLDER = ".config/Google/DriveFS"
"""In the user's home: the log, and for each account the cache of what was read and written."""

CROWDED = "QueryManager timed out"
"""What google.colab itself looks for: the first reading of the root folder took too long."""

QUOTA = "QUOTA_EXCEEDED"

_AT_MOST = 256 << 10
_LONGEST = 240
# 2021-01-12T11:26:04.180ZE [139962553603840:core_1234] content_cache.cc:345:Initialize Content cache…
_SERIOUS = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z[EF] ")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_WORDS = re.compile(rf"{CROWDED}|{QUOTA}|[Ff]atal|FATAL|[Dd]enied|disabled by policy")
_SECRETS = (
    (re.compile(r"\bya29\.[\w.-]+|\b1//[\w-]{10,}|\beyJ[\w-]+\.[\w.-]+|\bAIza[\w-]{20,}"), "***"),
    (re.compile(r"(?i)\b(bearer|authorization:?)\s+\S+(\s+\S+)?"), r"\1 ***"),
    (
        re.compile(
            r"(?i)([\w-]*(?:token|secret|password|api_?key|cookie|credential)[\w-]*[\"']?\s*[=:]\s*[\"']?)[^\s,;\"'&]+"
        ),
        r"\1***",
    ),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "***@***"),
    (re.compile(r"(?<!\d)\d{15,}(?!\d)"), "***"),
)
_CONTROL = re.compile(r"[^\x20-\x7e\u00a0-\uffff]")


def file_of(home: Path) -> Path:
    """Return the log's file; it need not exist."""
    return home / FOLDER / "Logs" / "drive_fs.txt"


def end_of(home: Path) -> int:
    """Return the length of the log in bytes, to read on from there later."""
    try:
        return file_of(home).stat().st_size
    except OSError:
        return 0


def read(home: Path, *, since: int = 0) -> list[str]:
    """Return the log's lines from a place on, the last 256 KiB at most; none where there is no log."""
    try:
        with open(file_of(home), "rb") as file:
            size = file.seek(0, 2)
            start = since if since <= size else 0  # it was begun anew
            file.seek(max(start, size - _AT_MOST))
            return file.read(_AT_MOST).decode(errors="replace").splitlines()
    except OSError:
        return []


def of_this_mount(lines: list[str]) -> list[str]:
    """Leave out what was logged before Drive's program that runs now was started: an earlier attempt's words."""
    started = max((started_at for started_at in map(_started, Path("/proc").glob("[0-9]*")) if started_at), default=0.0)
    if not started:
        return lines
    begin = dt.datetime.fromtimestamp(started - 1, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return [line for line in lines if not _STAMP.match(line) or line[:19] >= begin]


def _started(process: Path) -> float:
    """When a process was started, if it is Drive's program; else 0."""
    try:
        if (process / "comm").read_text().strip() != "drive":
            return 0.0
        return process.stat().st_mtime
    except OSError:
        return 0.0


def serious(lines: list[str], most: int = 3) -> tuple[str, ...]:
    """Choose the last lines that tell of a failure, fit to be shown."""
    serious_lines = [line for line in lines if _SERIOUS.match(line) or _WORDS.search(line)]
    return tuple(dict.fromkeys(map(redacted, serious_lines[-most:])))


def redacted(line: str) -> str:
    """Make a line fit to be shown: no token, key or address, no control characters, not too long.

    Example:
        >>> redacted("ZE auth.cc:1 refresh_token=1//0abcdefghijkl for someone@gmail.com failed")
        'ZE auth.cc:1 refresh_token=*** for ***@*** failed'
    """
    text = _CONTROL.sub(" ", line)
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def quoted(lines: list[str]) -> str:
    """Quote the log for the `why` of an error; "" where it says nothing."""
    words = serious(lines)
    return f"its log says: {' | '.join(words)}" if words else ""
