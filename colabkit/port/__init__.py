"""A notebook or script as it is, rewritten to one that survives: `port()`, which runs none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._internal.disk.files import atomic_write
from colabkit._internal.disk.paths import expand
from colabkit._internal.hidden_locals import hides_locals
from colabkit.errors import ExistsError, NotebookError, NotFoundError
from colabkit.port.report import Change, Kept, Ported

if TYPE_CHECKING:
    from colabkit._types import StrPath

__all__ = ["Change", "Kept", "Ported", "port"]


@hides_locals
def port(path: StrPath, output: StrPath | None = None, *, keep: str | None = None, write: bool = True) -> Ported:
    r"""Rewrite the cells of a notebook that set up and train, and leave the rest alone; none of it is run.

    What installs becomes `install()`, what downloads `fetch()`, Drive's mount, secrets and trainings theirs. Comments,
    outputs, ids and the file's format stay. Porting twice changes nothing.

    Args:
        path: A notebook of format 4, or a Python script.
        output: Where the new file is written; by default beside the old one, as `NAME.ported.ipynb`.
        keep: Where downloads are kept for later sessions, as `fetch` takes it: "drive:data", "gs://…", a folder.
        write: False only tells what would change.

    Returns:
        What was changed, what stays and why, and the difference.

    Raises:
        NotFoundError: There is no such file.
        ExistsError: The file beside it exists and differs; nothing is written over unless `output` names it.
        NotebookError: It cannot be ported: no JSON, an old format, another language.

    Example:
        >>> import pathlib, tempfile
        >>> script = pathlib.Path(tempfile.mkdtemp()) / "train.py"
        >>> _ = script.write_text("!pip install -q -U polars\nimport polars\n")
        >>> print(port(script).output.read_text())
        import colabkit as ck  # where it is missing: %pip install its wheel or its git address first
        <BLANKLINE>
        ck.install("polars", upgrade=True)
        import polars
        <BLANKLINE>
    """
    from colabkit.port import clear_text
    from colabkit.port.notebook import NotebookFile
    from colabkit.port.rewriting import Rewriting

    source = expand(path)
    if source.is_dir():
        raise NotebookError(
            f"{source} is a folder", hint=f"name one notebook or script in it, as in {source}/train.ipynb"
        )
    if not source.is_file():
        raise NotFoundError(f"no file at {source}", hint="check the path")
    if source.suffix not in (".ipynb", ".py"):
        raise NotebookError(
            f"{source.name} is neither a notebook nor a script", hint="its name must end in .ipynb or .py"
        )
    file = NotebookFile(source)
    stem = source.stem.removesuffix(".ported")
    work = Rewriting(file.cells, is_script=file.is_script, stem=stem, keep=keep)
    work.run()
    text = file.with_cells(work.new, work.first) if work.new or work.first else file.text
    target = expand(output) if output is not None else source.with_name(f"{stem}.ported{source.suffix}")
    shown = [(0, "", work.first)] * bool(work.first)
    shown += [
        (number + 1, clear_text.masked(file.cells[number]), clear_text.masked(new or ""))
        for number, new in sorted(work.new.items())
    ]
    if write and output is None and target.exists() and target.read_bytes() != _encoded(text):
        raise ExistsError(
            f"{target} exists and differs",
            why="it may hold your changes",
            hint=f"choose another place with -o, or delete {target.name}",
        )
    if write:
        with atomic_write(target) as part:
            part.write(_encoded(text))
    return Ported(
        source=source,
        output=target if write else None,
        text=text,
        changes=tuple(work.changes),
        kept=tuple(work.kept),
        cells=tuple(shown),
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")
