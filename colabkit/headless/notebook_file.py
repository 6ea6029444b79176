"""A notebook as it lies on disk: read, checked, and refused in words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk import lfs_pointer
from colabkit._internal.foreign import loads, reading, reason
from colabkit._internal.optional import require
from colabkit.errors import NotebookError
from colabkit.headless import parameters as _parameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HOSTS = re.compile(r"google\.colab|google import colab|kaggle_secrets|/content\b|/kaggle/")
_WHY = "running notebooks needs it"


def read(path: Path) -> Any:
    """Read a notebook of format 4.

    Raises:
        NotebookError: It is none.
    """
    lfs_pointer.refuse(path, NotebookError)
    try:
        values = loads(path.read_bytes())
        major = values["nbformat"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise NotebookError(
            f"{path.name} is not a notebook",
            why=reason(error)
            if isinstance(error, OSError)
            else "it is not JSON"
            if isinstance(error, ValueError)
            else "it has no nbformat",
            hint="save it again in Jupyter or Colab",
        ) from error
    if major != 4:
        raise NotebookError(
            f"{path.name} is a notebook of format {major}, and only format 4 can be run",
            hint=f"run: jupyter nbconvert --to notebook --nbformat 4 {path.name}",
        )
    nbformat = require("nbformat", extra="run", why=_WHY)
    with reading(
        lambda why: NotebookError(
            f"{path.name} is not a valid notebook", why=why[:200], hint="save it again in Jupyter"
        )
    ):
        notebook = nbformat.v4.reads(json.dumps(values))  # joins the lines, which files hold as lists
        nbformat.validate(notebook)
        return nbformat.convert(notebook, 4)  # brings older minor formats to one, with an id for each cell


def kernel_of(notebook: Any, name: str, requested: str | None) -> str:
    """Choose the kernel: the one asked for, the notebook's own, or Python's.

    Raises:
        NotebookError: There is none of that name, or the notebook is in another language and names none.
    """
    specs = require("jupyter_client.kernelspec", extra="run", why=_WHY)
    chosen = requested or notebook.metadata.get("kernelspec", {}).get("name")
    language = notebook.metadata.get("language_info", {}).get("name", "python")
    if chosen is None and language != "python":
        raise NotebookError(f"{name} names no kernel, and is in {language}", hint="name one: --kernel NAME")
    chosen = chosen or "python3"
    kernels = sorted(specs.KernelSpecManager().find_kernel_specs())
    if chosen not in kernels:
        raise NotebookError(
            f"{name} wants the kernel {chosen!r}, and there is none of that name",
            why=f"the kernels here are {', '.join(kernels)}" if kernels else "no kernel is installed",
            hint="name another one by --kernel NAME" if kernels else "run: pip install ipykernel",
        )
    return str(chosen)


def with_parameters(notebook: Any, parameters: Mapping[str, Any]) -> Any:
    """Return a copy without outputs, with the cell that sets the parameters."""
    nbformat = require("nbformat", extra="run", why=_WHY)
    copy = nbformat.from_dict(json.loads(json.dumps(notebook)))
    copy.cells = [cell for cell in copy.cells if not is_injected(cell)]
    parameters = _parameters.fitted(parameters, [cell.source for cell in copy.cells if cell.cell_type == "code"])
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.source = _parameters.fill_forms(cell.source, parameters)
    if parameters:
        cell = nbformat.v4.new_code_cell(_parameters.source_of(parameters), metadata={"tags": [_parameters.TAG]})
        copy.cells.insert(_parameters.place_for(copy.cells), cell)
    return copy


def needs_shim(notebook: Any) -> bool:
    """Say whether a cell names a module or a folder that only Colab or Kaggle has."""
    return any(cell.cell_type == "code" and _HOSTS.search(cell.source) for cell in notebook.cells)


def names(notebook: Any, word: str) -> bool:
    """Say whether a cell holds a word."""
    return any(cell.cell_type == "code" and word in cell.source for cell in notebook.cells)


def is_injected(cell: Any) -> bool:
    """Say whether a cell is the one that sets the parameters."""
    return _parameters.TAG in cell.metadata.get("tags", ())


def text_of(notebook: Any) -> str:
    """Write a notebook as its file holds it."""
    return str(require("nbformat", extra="run", why=_WHY).writes(notebook)).rstrip("\n") + "\n"
