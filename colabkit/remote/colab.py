"""A notebook on a machine of Colab, by `colab` of google-colab-cli."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from colabkit._internal.log import notify, warn
from colabkit.errors import AccessError, KernelDiedError
from colabkit.remote.base import FOREVER, RemoteRan, call, program, refuse_failed_cell, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colabkit._internal.process.proc import Completed
    from colabkit.remote.base import Work

_CELL_TIMEOUT = 6 * 3600.0
"""Seconds that a cell may print nothing: the command's own default is 30."""

_PACKED = "content/colabkit-brought.zip"
_TPU = re.compile(r"v\d", re.IGNORECASE)
_PACK = """
import shutil, pathlib
path = pathlib.Path({path!r})
path = path if path.is_absolute() else pathlib.Path('/content') / path
if path.is_dir():
    shutil.make_archive('/content/colabkit-brought', 'zip', path)
"""
_UNPACK = "import shutil; shutil.unpack_archive('/content/colabkit-brought.zip', {path!r})"


def run(work: Work) -> RemoteRan:
    """Run a notebook on a machine of Colab, and on the next one when that dies."""
    colab = program("colab", "google-colab-cli")
    for machine in range(1, work.attempts + 1):
        session = work.name or f"colabkit-{work.slug}-{secrets.token_hex(2)}"
        with _machine(colab, session, work) as is_alive:
            for path in work.bring:
                _send(colab, session, path, work)
            done = _execute(colab, session, work)
            printed = work.notebook.with_name(f"{work.notebook.stem}_output.ipynb")
            if printed.is_file():
                work.output.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(printed, work.output)
            if done.ok:
                brought = tuple(
                    got for path in work.bring if (got := _download(colab, session, path, work)) is not None
                )
                refuse_failed_cell(work.output, "Colab's command")
                return RemoteRan(output=work.output, machines=machine, brought=brought)
            lives = is_alive()
            if lives:  # what is brought now is sent to the next one
                for path in work.bring:
                    _download(colab, session, path, work)
        reason = "the execution ended" if lives else "the machine is gone"
        more = "; the next one is taken" if machine < work.attempts else ""
        warn("colabkit: %s (%s)%s", reason, words(done)[-200:], more)
    raise KernelDiedError(
        f"{work.notebook.name} did not finish on {work.attempts} machines",
        why=words(done),
        hint=f"its outputs so far: {work.output}; with a run at drive: or gs:// the same command continues it",
    )


def _execute(colab: str, session: str, work: Work) -> Completed:
    seconds = work.timeout or _CELL_TIMEOUT
    command = [colab, "exec", "-s", session, "-f", str(work.notebook), "--timeout", f"{seconds:g}"]
    return call(command, work.show, timeout=FOREVER)


@contextlib.contextmanager
def _machine(colab: str, session: str, work: Work) -> Iterator[Callable[[], bool]]:
    """Start a machine, yield what says whether it is still there, and give it back whatever happens."""
    kind = "--tpu" if _TPU.match(work.accelerator) else "--gpu"
    options = [kind, work.accelerator] if work.accelerator else []
    done = call([colab, "new", "-s", session, *options])
    if not done.ok:
        raise AccessError(
            f"Colab gives no machine{f' with {work.accelerator}' if work.accelerator else ''}",
            why=words(done),
            hint="look at `colab sessions` and `colab pay`; sign in with `gcloud auth application-default login`",
        )
    notify("colabkit: %s runs on Colab, session %s", work.notebook.name, session)

    def is_alive() -> bool:
        listed = call([colab, "sessions"])
        return listed.ok and session in listed.out

    try:
        yield is_alive
    finally:
        stopped = call([colab, "stop", "-s", session])
        if stopped.ok:
            notify("colabkit: the machine is given back")
        elif is_alive():
            warn("colabkit: the machine is not given back; run: colab stop -s %s (%s)", session, words(stopped)[-200:])


def _code(colab: str, session: str, code: str) -> Completed:
    with tempfile.TemporaryDirectory(prefix="colabkit-remote-") as folder:
        script = Path(folder, "step.py")
        script.write_text(code, encoding="utf-8")
        return call([colab, "exec", "-s", session, "-f", str(script), "--timeout", "600"])


def _send(colab: str, session: str, path: str, work: Work) -> None:
    """Send a folder that was brought here before, so that what lies in it continues."""
    here = work.output.parent / PurePosixPath(path).name
    if not here.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix="colabkit-remote-") as folder:
        archive = shutil.make_archive(str(Path(folder, "brought")), "zip", here)
        done = call([colab, "upload", "-s", session, archive, _PACKED], timeout=FOREVER)
    if done.ok:
        done = _code(colab, session, _UNPACK.format(path=path))
    if done.ok:
        notify("colabkit: %s is sent, and continues", here)
    else:
        warn("colabkit: %s could not be sent: %s", here, words(done)[-200:])


def _download(colab: str, session: str, path: str, work: Work) -> Path | None:
    """Bring a file or a folder of the machine beside the output."""
    target = work.output.parent / PurePosixPath(path).name
    absolute = path if path.startswith("/") else f"/content/{path}"
    _code(colab, session, _PACK.format(path=path))
    with tempfile.TemporaryDirectory(prefix="colabkit-remote-") as folder:
        archive = Path(folder, "brought.zip")
        done = call([colab, "download", "-s", session, _PACKED, str(archive)], timeout=FOREVER)
        if done.ok and archive.is_file():
            from colabkit._archive.extraction import unpack

            fresh = Path(folder, "fresh")
            unpack(archive, fresh)
            if target.is_dir():
                shutil.rmtree(target)
            shutil.move(fresh, target)
            call([colab, "rm", "-s", session, _PACKED])
            return target
        done = call([colab, "download", "-s", session, absolute.lstrip("/"), str(target)], timeout=FOREVER)
    if done.ok and target.is_file():
        return target
    warn("colabkit: %s does not exist, so it was not downloaded: %s", path, words(done)[-200:])
    return None
