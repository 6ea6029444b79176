"""Run a notebook by nbclient, and again when its kernel was killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import write_text
from colabkit._internal.log import notify, warn
from colabkit._internal.optional import require
from colabkit._internal.process.threads import start_thread
from colabkit.errors import CellError, KernelDiedError, NotebookError
from colabkit.headless import notebook_file
from colabkit.headless.kernel import Folder, make_client
from colabkit.headless.outcome import FailedCommand, Ran

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SAVE_EVERY = 2.0  # seconds
_GRACE = 20.0  # seconds that an interrupted cell has to save what it has
_PLAIN_WORD = re.compile(r"[A-Za-z][\w./-]{0,40}")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run_notebook(
    path: Path,
    parameters: Mapping[str, Any],
    output: Path,
    *,
    retries: int,
    kernel: str | None,
    cell_timeout: float | None,
    quiet: bool,
    strict: bool = False,
) -> Ran:
    """Run a notebook; arguments and errors as for `run_file`."""
    client = require("nbclient", extra="run", why="running notebooks needs it")
    source = notebook_file.read(path)
    name = notebook_file.kernel_of(source, path.name, kernel)
    begun, tries, restarts = time.monotonic(), 1, 0
    failed: list[FailedCommand] = []
    notebook, behind = notebook_file.with_parameters(source, parameters), 0
    where, shim, notified = path.parent.absolute(), notebook_file.needs_shim(source), set[str]()
    while True:
        folder = Folder(parameters, folder=where, strict=strict, shim=shim)
        attempt = _Attempt(notebook, output, folder, behind=behind, quiet=quiet, notified=notified)
        try:
            attempt.run(name, where, cell_timeout)
        except (client.exceptions.DeadKernelError, _RestartWantedError) as error:
            place = f"in cell {attempt.cell} of {path.name}"
            if attempt.restart:
                notify(
                    "colabkit: cell %d restarts its kernel by %s; continuing after it", attempt.cell, attempt.restart
                )
                behind, restarts = attempt.cell, restarts + 1
                continue
            if tries > retries:
                raise KernelDiedError(
                    f"the kernel died {place}" + (f", {tries} times in all" if tries > 1 else ""),
                    why=folder.last_words() or "it was killed, often because memory ran out",
                    hint=f"look at {output}, give the work less memory, or allow more with --retries N",
                ) from error
            warn("colabkit: the kernel died %s; running it again, %d of %d", place, tries, retries)
            notebook, behind, tries = notebook_file.with_parameters(source, parameters), 0, tries + 1
            failed.clear()
            attempt.failed.clear()
        except client.exceptions.CellExecutionError as error:
            raise _cell_error(attempt, path.name, error, output) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"The outputs so far are in {output}") from None
        except client.exceptions.CellTimeoutError:
            raise CellError(
                f"cell {attempt.cell} of {path.name} ran longer than {cell_timeout:g} s",
                hint="allow more by --cell-timeout SECONDS",
            ) from None
        except RuntimeError as error:
            words = folder.tail()
            raise NotebookError(
                f"the kernel {name!r} did not start",
                why=(words or str(error))[:300],
                hint="try it in Jupyter",
            ) from error
        else:
            seconds = time.monotonic() - begun
            failed += attempt.failed
            return Ran(output=output, attempts=tries, seconds=seconds, restarts=restarts, failed=tuple(failed))
        finally:
            failed += attempt.failed if attempt.restart else ()
            folder.remove()


def _cell_error(attempt: _Attempt, name: str, error: Any, output: Path) -> CellError:
    if attempt.question:
        asks, parameter = attempt.question["prompt"] or "for an answer", attempt.question["asked"]
        give = (
            f"export {parameter.upper()}=…"
            if attempt.question["hidden"]
            else f"colabkit run {name} -p {parameter}=VALUE"
        )
        return CellError(
            f"cell {attempt.cell} of {name} asks {asks!r}, and nobody is there to answer",
            why="the run is headless; the cells after it were not run",
            hint=f"give the answer before: {give}",
        )
    if error.ename == "CommandFailedError" and attempt.failed:
        return CellError(
            f"{attempt.failed[-1]}, of {name}",
            why="the run is strict; the cells after it were not run",
            hint=f"see what it printed in {output}, or write `|| true` after a command that may fail",
        )
    return CellError(
        f"cell {attempt.cell} of {name} raised {error.ename}: {_COLOURS.sub('', error.evalue)[:300]}",
        why="the cells after it were not run",
        hint=f"see its traceback in {output}",
    )


class _RestartWantedError(Exception):
    """A cell has asked its kernel to restart, and ended."""


class _Attempt:
    """One run from the top, in a thread with a loop of its own.

    nbclient takes SIGINT for itself where it may, and a kernel that was stopped on purpose then looks like one that
    died; in another thread it may not, and the signals are ours.
    """

    def __init__(
        self, notebook: Any, output: Path, folder: Folder, *, behind: int, quiet: bool, notified: set[str]
    ) -> None:
        self.cell = 0
        self.restart = ""
        self.question: dict[str, Any] = {}
        self.failed: list[FailedCommand] = []
        self._folder = folder
        self._behind = behind
        self._notified = notified
        self._notebook = notebook
        self._output = output
        self._quiet = quiet
        self._saved = 0.0
        self._client: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()

    def run(self, kernel: str, folder: Path, cell_timeout: float | None) -> None:
        """Run all cells; the outputs are saved whatever happens."""
        self._client = self._make_client(kernel, folder, cell_timeout)
        # A daemon, and an event: until Python 3.13 a Ctrl-C in join() makes the thread look as if it had ended.
        if start_thread(self._execute, name="colabkit-run") is None:
            self._execute()
        try:
            while not self._ended.wait(0.2):
                pass
        except BaseException:
            self._stop()
            raise
        finally:
            self._save()
        if self._error is not None:
            raise self._error

    def _make_client(self, kernel: str, folder: Path, cell_timeout: float | None) -> Any:
        client = make_client(
            self._notebook,
            self._folder,
            self._echo,
            kernel_name=kernel,
            timeout=cell_timeout,
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=self._begin,
            on_cell_executed=self._end,
        )
        cells = enumerate(self._notebook.cells[: self._behind])
        client.skip = frozenset(number for number, cell in cells if not notebook_file.is_injected(cell))
        return client

    def _execute(self) -> None:
        try:
            asyncio.run(self._all_cells())
        except BaseException as error:  # noqa: BLE001 - told in the thread that waits
            self._error = error
            self._take_notes()
        finally:
            self._ended.set()

    async def _all_cells(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._client.async_execute()

    def _begin(self, cell: Any, cell_index: int) -> None:
        self._take_notes()
        self.cell = cell_index + 1
        if cell.cell_type == "code" and cell.source.strip():
            notify("colabkit: cell %d of %d", self.cell, len(self._notebook.cells))

    def _end(self, **_values: Any) -> None:
        self._take_notes()
        if self.restart:
            raise _RestartWantedError
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self._save()

    def _take_notes(self) -> None:
        for note in self._folder.take_notes():
            if "code" in note:
                self.failed.append(FailedCommand(cell=self.cell, command=brief(note["command"]), code=note["code"]))
                warn("colabkit: %s", self.failed[-1])
            for line in note.get("said", ()):
                if line not in self._notified and notebook_file.names(self._notebook, line.split()[0]):
                    notify("colabkit: %s", line)
                self._notified.add(line)
            self.restart = note.get("restart", self.restart)
            self.question = note if "asked" in note else self.question

    def _echo(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(text)
            sys.stderr.flush()

    def _save(self) -> None:
        write_text(self._output, notebook_file.text_of(self._notebook))
        self._saved = time.monotonic()

    def _stop(self) -> None:
        """Interrupt the cell as the notebook's own button does, so that a training saves; then end the kernel."""
        loop, manager = self._loop, self._client.km
        if loop is None or manager is None:
            self._ended.wait(_GRACE)
            return
        ensure_async = require("nbclient.util", extra="run", why="running notebooks needs it").ensure_async
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            asyncio.run_coroutine_threadsafe(ensure_async(manager.interrupt_kernel()), loop)
            if not self._ended.wait(_GRACE):
                asyncio.run_coroutine_threadsafe(ensure_async(manager.shutdown_kernel(now=True)), loop)
                self._ended.wait(_GRACE)


def brief(command: str) -> str:
    """Return the first words of a command line, none that may hold a secret.

    Example:
        >>> brief("python train.py --key hunter2")
        'python train.py …'
    """
    words = command.split()
    plain = list(itertools.takewhile(_PLAIN_WORD.fullmatch, words[:3]))
    return " ".join([*(plain or ["…"]), *(["…"] if plain and len(words) > len(plain) else [])])
