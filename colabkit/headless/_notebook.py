"""Run a notebook by nbclient, and again when its kernel was killed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from colabkit._tools.files import write_text
from colabkit._tools.log import say, warn
from colabkit._tools.optional import require
from colabkit.errors import CellError, KernelDiedError, NotebookError
from colabkit.headless import _file
from colabkit.headless._ran import Ran

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SAVE_EVERY = 2.0  # seconds
_GRACE = 20.0  # seconds that an interrupted cell has to save what it has
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
) -> Ran:
    """Run a notebook; arguments and errors as for `run_file`."""
    client = require("nbclient", extra="run", why="running notebooks needs it")
    source = _file.read(path)
    name = _file.kernel_of(source, path.name, kernel)
    begun = time.monotonic()
    for attempt in range(1, retries + 2):
        one = _Attempt(_file.with_parameters(source, parameters), output, quiet=quiet)
        try:
            one.run(name, path.parent.absolute(), cell_timeout)
        except client.exceptions.DeadKernelError as error:
            where = f"in cell {one.cell} of {path.name}"
            if attempt > retries:
                raise KernelDiedError(
                    f"the kernel died {where}, {attempt} times in all",
                    why="it was killed, often because memory ran out",
                    do=f"look at {output}, give the work less memory, or allow more with --retries N",
                ) from error
            warn("colabkit: the kernel died %s; running it again, %d of %d", where, attempt, retries)
            continue
        except client.exceptions.CellExecutionError as error:
            raise CellError(
                f"cell {one.cell} of {path.name} raised {error.ename}: {_COLOURS.sub('', error.evalue)[:300]}",
                why="the cells behind it were not run",
                do=f"see its traceback in {output}",
            ) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"The outputs so far are in {output}") from None
        except client.exceptions.CellTimeoutError:
            raise CellError(
                f"cell {one.cell} of {path.name} ran longer than {cell_timeout:g} s",
                do="allow more by --cell-timeout SECONDS",
            ) from None
        except RuntimeError as error:
            raise NotebookError(
                f"the kernel {name!r} did not start", why=str(error)[:300], do="try it in Jupyter"
            ) from error
        return Ran(output=output, attempts=attempt, seconds=time.monotonic() - begun)
    raise AssertionError("the last attempt returns or raises")


class _Attempt:
    """One run from the top, in a thread with a loop of its own.

    nbclient takes SIGINT for itself where it may, and a kernel that was stopped on purpose then looks like one that
    died; in another thread it may not, and the signals are ours.
    """

    def __init__(self, notebook: Any, output: Path, *, quiet: bool) -> None:
        self.cell = 0
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
        threading.Thread(target=self._execute, name="colabkit-run", daemon=True).start()
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
        nbclient = require("nbclient", extra="run", why="running notebooks needs it")
        echo = self._echo

        class Client(nbclient.NotebookClient):  # type: ignore[misc, name-defined]
            def output(self, outs: Any, msg: Any, display_id: Any, cell_index: int) -> Any:
                if msg["msg_type"] == "stream":
                    echo(msg["content"]["text"])
                return super().output(outs, msg, display_id, cell_index)

        return Client(
            self._notebook,
            kernel_name=kernel,
            timeout=cell_timeout,
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=self._begin,
            on_cell_executed=self._end,
        )

    def _execute(self) -> None:
        try:
            asyncio.run(self._all_cells())
        except BaseException as error:  # noqa: BLE001 - told in the thread that waits
            self._error = error
        finally:
            self._ended.set()

    async def _all_cells(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._client.async_execute()

    def _begin(self, cell: Any, cell_index: int) -> None:
        self.cell = cell_index + 1
        if cell.cell_type == "code" and cell.source.strip():
            say("colabkit: cell %d of %d", self.cell, len(self._notebook.cells))

    def _end(self, **_told: Any) -> None:
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self._save()

    def _echo(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(text)
            sys.stderr.flush()

    def _save(self) -> None:
        write_text(self._output, _file.text_of(self._notebook))
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
