"""Notebooks and scripts that nobody watches: run to the end, and again after a crash: `run_file()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit._internal.hidden_locals import hides_locals
from colabkit.errors import NotebookError, NotFoundError
from colabkit.headless.outcome import FailedCommand, Ran

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colabkit._types import StrPath

__all__ = ["FailedCommand", "Ran", "run_file"]


@hides_locals
def run_file(
    path: StrPath,
    parameters: Mapping[str, Any] | None = None,
    *,
    output: StrPath | None = None,
    retries: int = 3,
    kernel: str | None = None,
    cell_timeout: float | None = None,
    quiet: bool = False,
    strict: bool = False,
) -> Ran:
    r"""Run a notebook or a script to its end, and again from its top when its process was killed.

    What resumes is the file's own work: a run opened by `open_run` continues at its last checkpoint, packages and data
    are there already. An error in the code is no crash: it ends the run at once.

    Args:
        path: A notebook of format 4, or a Python script.
        parameters: Values by name. A notebook gets them in a cell of its own, behind the cell with the tag
            `parameters`, else behind a first cell that sets up, else on top; a script gets `--name=value`.
        output: Where the notebook with its outputs, or what the script prints, is written as it grows; by default
            beside the file, as `NAME.out.ipynb` or `NAME.out.txt`.
        retries: How often it is run again after its process was killed.
        kernel: The kernel's name; the notebook's own by default.
        cell_timeout: Seconds that one cell may take; without limit when None.
        quiet: Do not repeat on stderr what is printed.
        strict: A `!` command that fails ends the run; else it is told.

    Returns:
        Where the outputs are, how often it had to begin, which commands failed, and a script's exit code.

    Raises:
        NotFoundError: There is no such file.
        NotebookError: It cannot be run: no JSON, an old format, no kernel.
        CellError: A cell raised an error, asked a question, or, when strict, had a command that failed; its outputs
            are saved.
        KernelDiedError: Its process was killed more often than it may begin again.
        MissingDependencyError: What runs notebooks is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> script = pathlib.Path(tempfile.mkdtemp()) / "train.py"
        >>> _ = script.write_text("import sys; print(sys.argv[1:])")
        >>> run_file(script, {"epochs": 3}, quiet=True).output.read_text()
        "['--epochs=3']\n"
    """
    source = expand(path)
    if not source.is_file():
        raise NotFoundError(f"no file at {source}", hint="check the path")
    if source.suffix not in (".ipynb", ".py"):
        raise NotebookError(
            f"{source.name} is neither a notebook nor a script", hint="its name must end in .ipynb or .py"
        )
    target = expand(output) if output is not None else None
    if source.suffix == ".py":
        from colabkit.headless.script import run_script

        return run_script(
            source, parameters or {}, target or source.with_suffix(".out.txt"), retries=retries, quiet=quiet
        )
    from colabkit.headless.notebook import run_notebook

    return run_notebook(
        source,
        parameters or {},
        target or source.with_suffix(".out.ipynb"),
        retries=retries,
        kernel=kernel,
        cell_timeout=cell_timeout,
        quiet=quiet,
        strict=strict,
    )
