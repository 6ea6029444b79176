"""A model of a disk at a power cut: a record of system calls is played into it, and it keeps what was flushed.

A file's content is durable as of its last fsync, a folder's names as of its own. Between the two a real disk may have
written more: so a power cut is asked for in three forms, with neither, with the data only, and with the names only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

LINE = re.compile(r"([\d.]+) (\w+)\((.*)\)\s+= (-?\d+|\?)")
HARMLESS = {
    "access", "epoll_create1", "execve", "faccessat", "faccessat2", "fcntl", "fgetxattr", "fstat", "fstatfs",
    "getcwd", "getdents64", "getxattr", "ioctl", "lstat", "mmap", "newfstatat", "poll", "pread64",
    "readlink", "readlinkat", "select", "stat", "statfs", "statx", "flock", "fchmod", "chmod", "fchmodat", "utimensat",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One system call: when it began, its name, its arguments as strace writes them, and its result."""

    time: float
    name: str
    arguments: str
    result: int

    def strings(self):
        """Return the arguments that are texts."""
        return [bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x..)*)"', self.arguments)]

    def number(self):
        """Return the first argument, a file descriptor."""
        return int(self.arguments.split(",")[0])

    def says(self, text):
        """Tell whether it writes a text to stdout."""
        return self.name == "write" and self.number() == 1 and text.encode() in self.strings()[0]


def calls_of(log):
    """Read what strace -ff wrote, a file for each thread, in the order of time."""
    lines = [line for path in log.parent.glob(f"{log.name}.*") for line in path.read_text().splitlines()]
    matches = [match for line in lines if (match := LINE.match(line)) and match[4] != "?"]
    calls = [Call(float(match[1]), match[2], match[3], int(match[4])) for match in matches]
    return sorted(calls, key=lambda call: call.time)


@dataclass
class File:
    """A file: its content, and what of it is durable."""

    content: bytes = b""
    durable: bytes = b""


@dataclass
class Opened:
    """An open file and the place in it."""

    file: File | Path
    at: int = 0
    append: bool = False


@dataclass
class State:
    """What a disk holds: names and contents."""

    files: dict[Path, bytes] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)

    def mark(self):
        """Return something to compare it by."""
        return hash((frozenset(self.files.items()), frozenset(self.folders)))

    def write(self, target):
        """Write it to a real folder."""
        for folder in [Path(), *sorted(self.folders)]:
            (target / folder).mkdir(parents=True)
        for path, content in self.files.items():
            (target / path).write_bytes(content)


class Disk:
    """A disk.

    Args:
        before: A folder with what it holds, durably.
        at: Where the recorded calls saw that folder.
    """

    def __init__(self, before, *, at):
        self._at = at
        self._opened = {}
        self._names, self._folders = {}, set()
        for path in before.rglob("*"):
            if path.is_dir():
                self._folders.add(path.relative_to(before))
            else:
                content = path.read_bytes()
                self._names[path.relative_to(before)] = File(content, content)
        self._durable_names, self._durable_folders = dict(self._names), set(self._folders)

    def play(self, call):
        """Do what a call did; tells whether anything changed, or became durable."""
        if call.result < 0 or call.name in HARMLESS:
            return False
        return bool(getattr(self, f"_{call.name}")(call))

    def after_a_power_cut(self):
        """Give what the disk may hold: unflushed data lost, unflushed names lost, or both."""
        for data, names in ((False, False), (True, False), (False, True)):
            there = self._names if names else self._durable_names
            yield State(
                {path: file.content if data else file.durable for path, file in there.items()},
                set(self._folders if names else self._durable_folders),
            )

    def final(self):
        """Return all names and contents, flushed or not."""
        return {path: file.content for path, file in self._names.items()}

    def _inside(self, text):
        path = Path(text.decode())
        return path.relative_to(self._at) if path.is_relative_to(self._at) else None

    def _openat(self, call):
        path = self._inside(call.strings()[0])
        self._opened.pop(call.result, None)
        if path is None:
            return False
        if path in self._folders or path == Path():
            self._opened[call.result] = Opened(path)
            return False
        made = path not in self._names
        file = self._names.setdefault(path, File())
        if "O_TRUNC" in call.arguments:
            file.content = b""
        self._opened[call.result] = Opened(file, append="O_APPEND" in call.arguments)
        return made or "O_TRUNC" in call.arguments

    def _close(self, call):
        self._opened.pop(call.number(), None)

    def _write(self, call):
        opened = self._opened.get(call.number())
        if opened is None:
            return False
        data, file = call.strings()[0][: call.result], opened.file
        at = len(file.content) if opened.append else opened.at
        file.content = file.content[:at].ljust(at, b"\0") + data + file.content[at + len(data) :]
        opened.at = at + len(data)
        return True

    def _lseek(self, call):
        if opened := self._opened.get(call.number()):
            opened.at = call.result

    def _read(self, call):
        if opened := self._opened.get(call.number()):
            opened.at += call.result

    def _ftruncate(self, call):
        if (opened := self._opened.get(call.number())) is None:
            return False
        size = int(call.arguments.split(",")[1])
        opened.file.content = opened.file.content[:size].ljust(size, b"\0")
        return True

    def _fsync(self, call):
        if (opened := self._opened.get(call.number())) is None:
            return False
        if isinstance(opened.file, File):
            opened.file.durable = opened.file.content
            return True
        for path in {*self._names, *self._durable_names}:
            if path.parent == opened.file:
                _set(self._durable_names, path, self._names.get(path))
        self._durable_folders |= {path for path in self._folders if path.parent == opened.file}
        return True

    _fdatasync = _fsync

    def _rename(self, call):
        source, target = map(self._inside, call.strings())
        if source is None:
            return False
        self._names[target] = self._names.pop(source)
        return True

    _renameat = _renameat2 = _rename

    def _unlink(self, call):
        path = self._inside(call.strings()[0])
        return path is not None and self._names.pop(path, None) is not None

    _unlinkat = _unlink

    def _mkdir(self, call):
        path = self._inside(call.strings()[0])
        if path is not None:
            self._folders.add(path)
        return path is not None

    _mkdirat = _mkdir


def _set(table, key, value):
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
