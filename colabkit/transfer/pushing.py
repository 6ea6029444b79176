"""push(): decide where something goes, then let the one file that knows the place bring it there."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from colabkit._engine.local import local_path
from colabkit._internal.disk.paths import on_this_machine, path_text, refuse_slips
from colabkit._internal.display.few import few
from colabkit._internal.hidden_locals import hides_locals
from colabkit.errors import AddressError, ExistsError, NotFoundError
from colabkit.transfer import schemes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from colabkit._engine.fetch_task import Show
    from colabkit._engine.uploads.body import UploadBody
    from colabkit._types import StrPath


@dataclass(frozen=True, kw_only=True)
class TargetSpec:
    """One kind of target.

    Attributes:
        module: The file of this folder that knows it, with `push_to(target, source, options) -> Pushed`.
        begins: What the target begins with, in any case.
        takes: What it is called in messages and in the documentation.
        extra: The extra that brings the packages it needs, or "" when it needs none.
        algorithm: The checksum that the place tells of what arrived, or "".
        message: Whether a message goes along.
    """

    module: str
    begins: str
    takes: str
    extra: str = ""
    algorithm: str = ""
    message: bool = False


TARGETS = (
    TargetSpec(module="gcs", begins=r"\s*gs:", takes="gs://BUCKET/OBJECT", extra="gcs", algorithm="crc32c"),
    TargetSpec(module="drive", begins=r"\s*drive:", takes="drive:FOLDER/NAME"),
    TargetSpec(
        module="kaggle",
        begins=r"\s*(kaggle:|https?://(www\.)?kaggle\.com(?=[/?#]|$))",
        takes="kaggle:OWNER/DATASET, kaggle:models/OWNER/MODEL/FRAMEWORK/VARIATION and kaggle:competitions/NAME",
        algorithm="md5",
        message=True,
    ),
    TargetSpec(
        module="huggingface", begins=r"\s*hf:", takes="hf:OWNER/NAME[/FILE]", extra="hf", algorithm="", message=True
    ),
)
SCHEMES = ("gs:", "drive:", "kaggle:", "hf:")
_NAMED = 5
_PATH = TargetSpec(module="local", begins="", takes="a path")


@dataclass(frozen=True, kw_only=True)
class PushOptions:
    """How to push.

    Attributes:
        overwrite: Replace what exists and differs.
        message: What is said about it.
        wait: Wait for the score of a submission.
        show: How progress is shown.
    """

    overwrite: bool = False
    message: str = ""
    wait: bool = False
    show: Show = None


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push did.

    Attributes:
        target: Where it is now.
        files: How many files are there.
        sent: How many of them had to be sent; the others were there already.
        size: Bytes of all files.
        score: The public score of a submission that was waited for, as Kaggle writes it; "" for none.
        version: The version at Kaggle that holds it; 0 elsewhere.
        created: Those of "dataset", "model" and "variation" that were made at Kaggle, as they were missing.
    """

    target: str
    files: int
    sent: int
    size: int
    score: str = ""
    version: int = 0
    created: tuple[str, ...] = ()


@hides_locals
def push(
    path: StrPath | bytes | bytearray | memoryview | IO[bytes],
    target: StrPath,
    *,
    overwrite: bool = False,
    message: str = "",
    wait: bool = False,
    progress: Show = None,
) -> str:
    """Push a file, a folder, bytes or a stream to a place that lasts, and return its address there.

    What is there appears whole and verified. What already exists, with the same content, is not sent again: run the
    same line again after an interruption, in another process too, and it goes on where it stopped. Content that
    differs is never replaced unless you say so.

    Args:
        path: A file, a folder, bytes, or a file that is open for reading in binary mode.
        target: `gs://BUCKET/OBJECT`, `drive:FOLDER/NAME` on a mounted Google Drive, or a path. One that ends with "/"
            is a folder that it is put into, under its own name. `kaggle:OWNER/DATASET` makes a new version of a
            dataset, or the dataset; `kaggle:models/OWNER/MODEL/FRAMEWORK/VARIATION` one of a model's variation;
            `kaggle:competitions/NAME` submits a file; `hf:OWNER/NAME` makes a commit.
        overwrite: Replace what exists and differs. Files of a folder that are not on this side are left alone. At
            Kaggle, where nothing is replaced, make a version or submit even if this very content was pushed already.
        message: The notes of a version, of a commit, or what a submission is called; for Kaggle and the Hub.
        wait: Wait until Kaggle has scored a submission, and say the score; `push_details(…).score` has it.
        progress: None shows a bar where one fits, False is silent, a function is called with (done, total).

    Returns:
        The address of what was pushed.

    Raises:
        AddressError: The target cannot be read, or something cannot have that name there.
        NotFoundError: The file is not here, or the bucket is not there.
        ExistsError: Something else is there, and `overwrite` is False.
        AccessError: The place refuses access.
        UnsupportedError: It cannot be pushed to from here.
        IntegrityError: What arrived is not what was sent; it was removed.
        OfflineError: There is no network.
        TransferError: Anything else on the way; what arrived is kept for the next try.
        StorageError: Reading here or writing there failed.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> pathlib.Path(push(b"7,0,0", folder / "digits.csv")).read_text()
        '7,0,0'
    """
    return push_details(path, target, overwrite=overwrite, message=message, wait=wait, progress=progress).target


def push_details(
    path: StrPath | bytes | bytearray | memoryview | IO[bytes],
    target: StrPath,
    *,
    overwrite: bool = False,
    message: str = "",
    wait: bool = False,
    progress: Show = None,
) -> Pushed:
    """Push like `push`, and tell what was done.

    Args:
        path: As in `push`.
        target: As in `push`.
        overwrite: As in `push`.
        message: As in `push`.
        wait: As in `push`.
        progress: As in `push`.

    Returns:
        Where it is, and how much had to be sent.

    Raises:
        ColabKitError: As in `push`.

    Example:
        >>> import tempfile
        >>> push_details(b"7,0,0", f"{tempfile.mkdtemp()}/digits.csv").size
        5
    """
    text = path_text(target)
    if not text.strip() or "\0" in text:
        raise AddressError("there is no target", why="it is empty, or no text", hint="pass an address or a path")
    # A Path is a path, whatever it looks like.
    row = _row(text) if isinstance(target, str) else _PATH
    if isinstance(target, str) and text.lower().startswith("file:"):
        text = f"{local_path(text)}{os.sep if text.endswith('/') else ''}"
    if message and not row.message:
        raise AddressError(
            "message= is not supported by this target", why="only Kaggle and the Hub keep one", hint="leave it out"
        )
    if wait and not text.strip().lower().startswith("kaggle:competitions/"):
        raise AddressError(
            "wait=True is not supported by this target", why="only a submission is scored", hint="leave it out"
        )
    options = PushOptions(overwrite=overwrite, message=message, wait=wait, show=progress)
    with _opened(path, row.algorithm) as source:
        target_module = importlib.import_module(f"colabkit.transfer.targets.{row.module}")
        pushed: Pushed = target_module.push_to(text, source, options)
    return pushed


def _row(text: str) -> TargetSpec:
    for row in TARGETS:
        if re.match(row.begins, text, re.IGNORECASE):
            return row
    if scheme := schemes.unknown(text):
        raise schemes.refused(text, scheme, "push to", [row.takes for row in TARGETS], SCHEMES)
    refuse_slips(text)
    return _PATH


def refuse_different(different: Sequence[str], files: int, *, overwrite: bool) -> None:
    """Stop before anything is sent if it would replace what is there.

    Args:
        different: The files of a folder that are there with another content.
        files: How many the folder has.
        overwrite: They may be replaced.

    Raises:
        ExistsError: There are some, and they may not.
    """
    if different and not overwrite:
        raise ExistsError(
            f"{len(different)} of the {files} files are there with another content",
            why=few(different, _NAMED),
            hint="pass overwrite=True to replace them, or choose another place; nothing was sent",
        )


@contextlib.contextmanager
def _opened(path: StrPath | bytes | bytearray | memoryview | IO[bytes], algorithm: str) -> Iterator[Path | UploadBody]:
    if not isinstance(path, str | os.PathLike):
        from colabkit._engine.uploads.body import open_stream

        yield open_stream(path, algorithm)
        return
    local = on_this_machine(path, 'bring it here first: ck.push(ck.fetch("{}"), TARGET)')
    if not os.path.lexists(local):
        raise NotFoundError(f"there is no file at {local}", hint="check the path")
    if not local.is_file() and not local.is_dir():
        raise AddressError(f"{local} is neither a file nor a folder", hint="pass one of those, or an open stream")
    yield local
