"""What a lock says about who holds it: the process, the host and the program, and nothing of its arguments.

A command line may hold a token, and a lock is read by others: on the same machine, in a shared Drive, in a bucket.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import PurePath
from typing import Any

_LONGEST = 80


def holder() -> dict[str, Any]:
    """Describe this process for others.

    Example:
        >>> sorted(holder())
        ['command', 'host', 'pid']
    """
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": _program()}


def _program() -> str:
    """Name the program that this process runs, without its arguments."""
    words = getattr(sys, "argv", None) or [""]
    path = PurePath(words[0])
    if path.name == "__main__.py":
        return f"python -m {path.parent.name}"
    return {"": "python", "-c": "python -c", "-m": "python -m"}.get(path.name, path.name)[:_LONGEST]


def described(owner: dict[str, Any], *, where: str = "another machine") -> tuple[str, str]:
    """Say who holds a lock, and which program that is; what others wrote is shown without its arguments.

    Args:
        owner: What the holder wrote.
        where: What to call its host when it names none.

    Returns:
        The process with its host, and the program; the latter is empty when it is not known.

    Example:
        >>> described({"pid": 7, "host": "one", "command": "/home/me/train.py --token SECRET"})
        ('process 7 on one', 'train.py')
    """
    pid, host = _clean(owner.get("pid", "unknown")), _clean(owner.get("host", where))
    words = str(owner.get("command") or "").split()
    program = PurePath(words[0]).name if words else ""
    if program == "python" and len(words) > 1 and words[1] in ("-c", "-m"):
        program = " ".join(["python", words[1], *(words[2:3] if words[1] == "-m" else [])])
    return f"process {pid} on {host}", _clean(program)


def _clean(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:_LONGEST])
