"""A notebook on a machine of Colab or Kaggle, from a terminal, by their official commands: `run_remote()`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.paths import expand
from colabkit._internal.hidden_locals import hides_locals
from colabkit._internal.nearest import suggest
from colabkit.errors import NotebookError, NotFoundError, UnknownNameError
from colabkit.remote.base import RemoteRan, Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colabkit._types import StrPath

__all__ = ["RemoteRan", "run_remote"]

HOSTS = ("colab", "kaggle")


@hides_locals
def run_remote(
    path: StrPath,
    parameters: Mapping[str, Any] | None = None,
    *,
    on: str,
    accelerator: str = "",
    output: StrPath | None = None,
    bring: Sequence[str] = (),
    inputs: Sequence[str] = (),
    name: str = "",
    retries: int = 2,
    timeout: float | None = None,
    quiet: bool = False,
) -> RemoteRan:
    """Run a notebook on a machine that an official command starts, and give the machine back.

    When the machine dies, the notebook runs again on the next one: a run that lies on `drive:`, on `gs://`, or in the
    earlier version of a notebook of Kaggle, continues there.

    Args:
        path: The notebook.
        parameters: Values by name, in a cell of their own as in `run_file`.
        on: "colab", by `colab` of google-colab-cli; or "kaggle", by `kaggle`.
        accelerator: As the command names it: "T4", "A100", "v5e1" on Colab; "NvidiaTeslaT4", "TpuV5E8" on Kaggle.
        output: Where the notebook with its outputs goes; by default `NAME.out.ipynb` beside the file.
        bring: On Colab, files and folders of the machine that are copied beside the output at the end. A folder that is
            here already is sent first, so that its run continues. Kaggle's whole output always comes.
        inputs: On Kaggle, data sets and competitions: "OWNER/NAME", "competitions/NAME".
        name: The session's name on Colab, "OWNER/NAME" of the notebook on Kaggle; made of the file's name when "".
        retries: How often a next machine is taken.
        timeout: Seconds that one cell may print nothing on Colab, and that the whole notebook may take on Kaggle.
        quiet: Do not repeat on stderr what is printed there.

    Returns:
        Where the outputs are, and how many machines it took.

    Raises:
        NotFoundError: There is no such notebook.
        NotebookError: It cannot be read.
        MissingDependencyError: The official command is not installed.
        AccessError: The command gets no machine, with its own words.
        CellError: A cell raised an error; its outputs are saved.
        KernelDiedError: More machines died than it may take.
    """
    if on not in HOSTS:
        raise UnknownNameError(f"no machine on={on!r}", hint=suggest(on, HOSTS))
    source = expand(path)
    if not source.is_file():
        raise NotFoundError(f"no file at {source}", hint="check the path")
    if source.suffix != ".ipynb":
        raise NotebookError(f"{source.name} is not a notebook", hint="its name must end in .ipynb")
    from colabkit.headless import notebook_file

    notebook = notebook_file.with_parameters(notebook_file.read(source), parameters or {})
    with tempfile.TemporaryDirectory(prefix="colabkit-remote-") as folder:
        copy = Path(folder, source.name)
        copy.write_text(json.dumps(notebook), encoding="utf-8")
        work = Work(
            notebook=copy,
            output=expand(output) if output is not None else source.with_suffix(".out.ipynb"),
            accelerator=accelerator,
            bring=tuple(bring),
            inputs=tuple(inputs),
            name=name,
            attempts=max(0, retries) + 1,
            timeout=timeout,
            quiet=quiet,
        )
        if on == "colab":
            from colabkit.remote import colab

            return colab.run(work)
        from colabkit.remote import kaggle

        return kaggle.run(work)
