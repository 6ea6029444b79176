"""Every error colabkit raises on purpose, each with its exit code in the command line.

```
ColabKitError                     3   anything below, caught by one name
├── MissingDependencyError        4   an optional package is not installed (ImportError)
├── UnknownNameError              5   no model, recipe, host or extra of that name (ValueError)
├── AddressError                  6   a source or a place that cannot be read as one (ValueError)
├── UnsupportedError              7   this runtime, version or package cannot do it (NotImplementedError)
├── StorageError                 10   reading or writing a place failed (OSError)
│   ├── NotWritableError         11   (PermissionError)
│   ├── DiskFullError            12
│   ├── NotStoredError           13   a storage has no object of that name (FileNotFoundError)
│   ├── ChangedError             14   another writer was there first
│   ├── UnreachableError         15   the storage does not answer; try later (ConnectionError)
│   └── DriveError               70   Google Drive failed (ValueError)
│       ├── DriveConsentError    71   access was refused (PermissionError)
│       ├── DriveUnansweredError 72   nobody answered, or can be asked (TimeoutError)
│       ├── DrivePolicyError     73   the administrator has switched it off (PermissionError)
│       ├── DriveTimeoutError    74   it does not answer in time (TimeoutError)
│       ├── DriveQuotaError      75   room, or what may be moved in a day, is used up
│       ├── DriveStoppedError    76   its program on this machine has ended (ConnectionError)
│       └── MountPointError      77   it cannot be mounted at this folder
├── TransferError                20   a download or upload failed (OSError)
│   ├── OfflineError             21   no network (ConnectionError)
│   ├── NotFoundError            22   (FileNotFoundError)
│   ├── AccessError              23   refused, or credentials are missing (PermissionError)
│   ├── IntegrityError           24   the bytes are not the ones that were promised (ValueError)
│   ├── ExistsError              25   the destination is taken by other content (FileExistsError)
│   ├── WebPageError             26   a web page came where a file was expected (ValueError)
│   ├── BusyError                27   the server asks us to come back later
│   └── ArchiveError             28   an archive is damaged or holds a hostile member (ValueError)
├── CheckpointError              30   (RuntimeError)
│   ├── RunBusyError             31   another process writes to this run
│   ├── RunMismatchError         32   the run belongs to another model or other data (ValueError)
│   ├── CorruptCheckpointError   33   the file is not what was written (ValueError)
│   └── NewerFormatError         34   written by a newer colabkit
├── DataError                    40   the data does not fit the model (ValueError)
│   └── DivergedError            43   a training's loss is no longer a number
├── OutOfMemoryError             44   a training does not fit the memory (MemoryError)
├── ModelFileError               41   a model file is damaged, or of another form (ValueError)
│   └── UnsafeModelError         42   it would run code, or reach other files
├── InstallError                 50   installing packages failed (RuntimeError)
│   ├── RequirementError         51   a requirement that cannot be read, or that carries an option (ValueError)
│   ├── ConflictError            52   versions that cannot go together
│   │   └── ProtectedPackageError 53  it would change what the running kernel depends on
│   ├── PackageNotFoundError     54   no such package, or no such version of it (LookupError)
│   ├── NoWheelError             55   nothing of it fits this Python or this platform
│   ├── SiteError                56   this Python refuses to be changed: PEP 668, read-only (PermissionError)
│   └── InstallerError           57   neither uv nor pip can run, or their settings are broken
├── RestartError                 58   the kernel is not restarted; the message says why (RuntimeError)
├── SecretError                  60   a secret could not be had (LookupError)
│   ├── SecretNotFoundError      61   no place has it
│   ├── SecretAccessError        62   it is there, and this notebook may not read it (PermissionError)
│   ├── SecretTimeoutError       63   the place that keeps it did not answer (TimeoutError)
│   └── NoBrowserError           64   Colab's secrets answer to a browser only, and there is none
├── ClusterError                 80   several workers cannot train together (RuntimeError)
│   ├── ClusterConfigError       81   workers, ports or TF_CONFIG that cannot be read, or name one twice (ValueError)
│   ├── WorkerUnreachableError   82   a worker does not come, or does not answer (ConnectionError)
│   └── WorkerMismatchError      83   a worker has another script or other versions (ValueError)
├── SetupFileError               90   a set-up that cannot be read, or is for another Python (ValueError)
├── NotebookError                91   a notebook that cannot be run: no JSON, an old format, no kernel (ValueError)
├── CellError                    92   a cell of a headless run raised an error (RuntimeError)
└── KernelDiedError              93   the process of a headless run was killed too often (RuntimeError)
```

0 is success, 2 a usage error, 130 Ctrl-C.
"""

from __future__ import annotations

from colabkit._credentials import masked
from colabkit._safe_text import safe_text

__all__ = [
    "AccessError",
    "AddressError",
    "ArchiveError",
    "BusyError",
    "CellError",
    "ChangedError",
    "CheckpointError",
    "ClusterConfigError",
    "ClusterError",
    "ColabKitError",
    "ConflictError",
    "CorruptCheckpointError",
    "DataError",
    "DiskFullError",
    "DivergedError",
    "DriveConsentError",
    "DriveError",
    "DrivePolicyError",
    "DriveQuotaError",
    "DriveStoppedError",
    "DriveTimeoutError",
    "DriveUnansweredError",
    "ExistsError",
    "InstallError",
    "InstallerError",
    "IntegrityError",
    "KernelDiedError",
    "MissingDependencyError",
    "ModelFileError",
    "MountPointError",
    "NewerFormatError",
    "NoBrowserError",
    "NoWheelError",
    "NotFoundError",
    "NotStoredError",
    "NotWritableError",
    "NotebookError",
    "OfflineError",
    "OutOfMemoryError",
    "PackageNotFoundError",
    "ProtectedPackageError",
    "RequirementError",
    "RestartError",
    "RunBusyError",
    "RunMismatchError",
    "SecretAccessError",
    "SecretError",
    "SecretNotFoundError",
    "SecretTimeoutError",
    "SetupFileError",
    "SiteError",
    "StorageError",
    "TransferError",
    "UnknownNameError",
    "UnreachableError",
    "UnsafeModelError",
    "UnsupportedError",
    "WebPageError",
    "WorkerMismatchError",
    "WorkerUnreachableError",
]


class ColabKitError(Exception):
    """The root: what happened, why, and what to do next.

    Args:
        what: What happened, with the value that caused it.
        why: The cause, when it is known.
        hint: The next step for the user.
        do: The former name of `hint`.

    Attributes:
        also_failed: The other failures of the same call, where it did several things side by side.

    Example:
        >>> print(ColabKitError("no file at ./digits.csv", hint="pass data=PATH"))
        no file at ./digits.csv
        What to do: pass data=PATH
    """

    exit_code = 3

    def __init__(self, what: str, *, why: str = "", hint: str = "", do: str = "") -> None:
        texts = map(safe_text, (what, why, hint or do))
        what, why, hint = map(masked, texts)  # whoever wrote the message: a password is nobody's to see
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.also_failed: tuple[BaseException, ...] = ()

    @property
    def do(self) -> str:
        """The former name of `hint`."""
        return self.hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"Why: {self.why}")
        if self.hint:
            lines.append(f"What to do: {self.hint}")
        return "\n".join(lines)

    @property
    def more(self) -> str:
        """Where the documentation has more about this kind of error."""
        return f"docs/errors.md#{type(self).__name__.lower()}"

    def _render_traceback_(self) -> list[str]:
        """Write it for a notebook, where IPython asks for this: the message before the traceback, which is folded."""
        from colabkit._traceback import lines_of

        notes = [("Note", note) for note in getattr(self, "__notes__", ())]
        return lines_of(self, [("", self.what), ("Why", self.why), ("What to do", self.do), *notes], self.more)

    def to_json(self) -> dict[str, str]:
        """Return its class and its parts as plain values."""
        return {"type": type(self).__name__, "what": self.what, "why": self.why, "do": self.hint}

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own would call the class with positional arguments only and lose why and hint.
        return (_rebuild, (type(self), self.what, self.why, self.hint))


def _rebuild(kind: type[ColabKitError], what: str, why: str, do: str) -> ColabKitError:
    return kind(what, why=why, hint=do)


def named(name: object) -> type[ColabKitError] | None:
    """Return the class of that name, as `to_json` tells it; None where there is none."""
    kind = globals().get(name) if isinstance(name, str) and name in __all__ else None
    return kind if isinstance(kind, type) and issubclass(kind, ColabKitError) else None


class MissingDependencyError(ColabKitError, ImportError):
    """An optional package is not installed; the message holds the install line."""

    exit_code = 4


class UnknownNameError(ColabKitError, ValueError):
    """No model, recipe, host or extra of that name; the message lists those that exist."""

    exit_code = 5


class AddressError(ColabKitError, ValueError):
    """A source or a place that cannot be read as one."""

    exit_code = 6


class UnsupportedError(ColabKitError, NotImplementedError):
    """This runtime, version or package cannot do it; the message names what can."""

    exit_code = 7


class StorageError(ColabKitError, OSError):
    """Reading or writing a place failed."""

    exit_code = 10


class NotWritableError(StorageError, PermissionError):
    """The place exists but refuses to be written."""

    exit_code = 11


class DiskFullError(StorageError):
    """Not enough room; the message says how much is needed and how much is free."""

    exit_code = 12


class NotStoredError(StorageError, FileNotFoundError):
    """A storage has no object of that name."""

    exit_code = 13


class ChangedError(StorageError):
    """An object is not the version that was expected: another writer was there first."""

    exit_code = 14


class UnreachableError(StorageError, ConnectionError):
    """A storage does not answer: a mount is gone, a network is down; it may come back."""

    exit_code = 15


class TransferError(ColabKitError, OSError):
    """A download or upload failed."""

    exit_code = 20


class OfflineError(TransferError, ConnectionError):
    """There is no network, or the host cannot be reached."""

    exit_code = 21


class NotFoundError(TransferError, FileNotFoundError):
    """The source does not exist."""

    exit_code = 22


class AccessError(TransferError, PermissionError):
    """The source refuses access, or credentials are missing."""

    exit_code = 23


class IntegrityError(TransferError, ValueError):
    """The bytes that arrived are not the ones that were promised; nothing was kept."""

    exit_code = 24


class ExistsError(TransferError, FileExistsError):
    """The destination is taken by content that is not known to come from this source."""

    exit_code = 25


class WebPageError(TransferError, ValueError):
    """A web page came where a file was expected; the message holds the page's own words."""

    exit_code = 26


class BusyError(TransferError):
    """The server limits us and asks us to come back later."""

    exit_code = 27


class ArchiveError(TransferError, ValueError):
    """An archive is damaged, or holds a member that would do harm; the message names it."""

    exit_code = 28


class CheckpointError(ColabKitError, RuntimeError):
    """Saving or restoring a run failed."""

    exit_code = 30


class RunBusyError(CheckpointError):
    """Another process writes to this run; the message names it and its pid."""

    exit_code = 31


class RunMismatchError(CheckpointError, ValueError):
    """The run belongs to another model or other data; the message names the difference."""

    exit_code = 32


class CorruptCheckpointError(CheckpointError, ValueError):
    """A checkpoint file is not what was written."""

    exit_code = 33


class NewerFormatError(CheckpointError):
    """A checkpoint was written by a newer colabkit."""

    exit_code = 34


class DataError(ColabKitError, ValueError):
    """The data does not fit the model; the message names the row, column or array."""

    exit_code = 40


class DivergedError(DataError):
    """A training's loss is no longer a number; the message says where it began."""

    exit_code = 43


class OutOfMemoryError(ColabKitError, MemoryError):
    """A training does not fit the memory of the machine or its GPU; the message says which state is saved."""

    exit_code = 44


class ModelFileError(ColabKitError, ValueError):
    """A model file is damaged, or of another form; the message names the member."""

    exit_code = 41


class UnsafeModelError(ModelFileError):
    """A model file would run code, or reach other files; the message names the layer or the member."""

    exit_code = 42


class InstallError(ColabKitError, RuntimeError):
    """Installing packages failed; the message says whether anything was changed."""

    exit_code = 50


class RequirementError(InstallError, ValueError):
    """A requirement that cannot be read, or that carries an option or credentials."""

    exit_code = 51


class ConflictError(InstallError):
    """Versions that cannot go together; the message names the cause, and nothing was touched."""

    exit_code = 52


class ProtectedPackageError(ConflictError):
    """It would change a package that the running kernel depends on."""

    exit_code = 53


class PackageNotFoundError(InstallError, LookupError):
    """No package of that name, or no such version of it."""

    exit_code = 54


class NoWheelError(InstallError):
    """The package exists, but nothing of it fits this Python or this platform."""

    exit_code = 55


class SiteError(InstallError, PermissionError):
    """This Python refuses to be changed: the system manages it (PEP 668), or it is read-only."""

    exit_code = 56


class InstallerError(InstallError):
    """Neither uv nor pip can run, or a setting of theirs is broken."""

    exit_code = 57


class RestartError(ColabKitError, RuntimeError):
    """The kernel is not restarted; the message says why, and nothing was lost."""

    exit_code = 58


class SecretError(ColabKitError, LookupError):
    """A secret could not be had; the message says what each place answered."""

    exit_code = 60


class SecretNotFoundError(SecretError):
    """No place has a secret of that name; the message lists the places that were asked."""

    exit_code = 61


class SecretAccessError(SecretError, PermissionError):
    """The secret is there, and this notebook may not read it."""

    exit_code = 62


class SecretTimeoutError(SecretError, TimeoutError):
    """The place that keeps the secret did not answer in time; it is not asked again."""

    exit_code = 63


class NoBrowserError(SecretError):
    """Colab's secrets answer to a browser only, and none shows this notebook."""

    exit_code = 64


class DriveError(StorageError, ValueError):
    """Google Drive failed; google.colab raises a ValueError for that, and so this is one."""

    exit_code = 70


class DriveConsentError(DriveError, PermissionError):
    """Access to Drive was refused, or Colab could not hand the permission on."""

    exit_code = 71


class DriveUnansweredError(DriveError, TimeoutError):
    """Nobody can be asked for access to Drive, or nobody answered."""

    exit_code = 72


class DrivePolicyError(DriveError, PermissionError):
    """The administrator of the account has switched off Drive on computers."""

    exit_code = 73


class DriveTimeoutError(DriveError, TimeoutError):
    """Drive does not answer in time."""

    exit_code = 74


class DriveQuotaError(DriveError):
    """A quota of Drive is used up: room, or how much may be read or written in a day."""

    exit_code = 75


class DriveStoppedError(DriveError, ConnectionError):
    """Drive's program on this machine has ended; the message quotes its log."""

    exit_code = 76


class MountPointError(DriveError):
    """Drive cannot be mounted at this folder; the message says what is in the way."""

    exit_code = 77


class ClusterError(ColabKitError, RuntimeError):
    """Several workers cannot train together."""

    exit_code = 80


class ClusterConfigError(ClusterError, ValueError):
    """Workers, ports, ranks or a TF_CONFIG that cannot be read, or that name one worker twice."""

    exit_code = 81


class WorkerUnreachableError(ClusterError, ConnectionError):
    """A worker does not come in time, or cannot reach the first one; the message names it."""

    exit_code = 82


class WorkerMismatchError(ClusterError, ValueError):
    """A worker would run another script or other versions; the message names the difference."""

    exit_code = 83


class SetupFileError(ColabKitError, ValueError):
    """A set-up that cannot be read or is for another Python; the message names file, line and column."""

    exit_code = 90


class NotebookError(ColabKitError, ValueError):
    """A notebook that cannot be run: it is not JSON, of an old format, or its kernel is not there."""

    exit_code = 91


class CellError(ColabKitError, RuntimeError):
    """A cell of a headless run raised an error; its outputs are saved."""

    exit_code = 92


class KernelDiedError(ColabKitError, RuntimeError):
    """The process of a headless run was killed more often than it may begin again."""

    exit_code = 93
