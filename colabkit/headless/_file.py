"""A notebook as it lies on disk: read, checked, and refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from colabkit._tools.optional import require
from colabkit.errors import NotebookError
from colabkit.headless import _parameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WHY = "running notebooks needs it"


def read(path: Path) -> Any:
    """Read a notebook of format 4.

    Raises:
        NotebookError: It is none.
    """
    try:
        values = json.loads(path.read_bytes())
        major = values["nbformat"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotebookError(
            f"{path.name} is no notebook",
            why="it is no JSON" if isinstance(error, ValueError) else "it has no nbformat",
            do="save it again in Jupyter or Colab",
        ) from error
    if major != 4:
        raise NotebookError(
            f"{path.name} is a notebook of format {major}, and only format 4 can be run",
            do=f"run: jupyter nbconvert --to notebook --nbformat 4 {path.name}",
        )
    nbformat = require("nbformat", extra="run", why=_WHY)
    try:
        notebook = nbformat.v4.reads(json.dumps(values))  # joins the lines, which files hold as lists
        nbformat.validate(notebook)
        notebook = nbformat.convert(notebook, 4)  # brings older minor formats to one, with an id for each cell
    except (nbformat.ValidationError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise NotebookError(
            f"{path.name} is no sound notebook", why=str(error).partition("\n")[0][:200], do="save it again in Jupyter"
        ) from error
    return notebook


def kernel_of(notebook: Any, name: str, asked: str | None) -> str:
    """Choose the kernel: the one asked for, the notebook's own, or Python's.

    Raises:
        NotebookError: There is none of that name, or the notebook is in another language and names none.
    """
    specs = require("jupyter_client.kernelspec", extra="run", why=_WHY)
    wanted = asked or notebook.metadata.get("kernelspec", {}).get("name")
    language = notebook.metadata.get("language_info", {}).get("name", "python")
    if wanted is None and language != "python":
        raise NotebookError(f"{name} names no kernel, and is in {language}", do="name one: --kernel NAME")
    wanted = wanted or "python3"
    found = sorted(specs.KernelSpecManager().find_kernel_specs())
    if wanted not in found:
        raise NotebookError(
            f"{name} wants the kernel {wanted!r}, and there is none of that name",
            why=f"the kernels here are {', '.join(found)}" if found else "no kernel is installed",
            do="name another one by --kernel NAME" if found else "run: pip install ipykernel",
        )
    return str(wanted)


def with_parameters(notebook: Any, parameters: Mapping[str, Any]) -> Any:
    """Return a copy without outputs, with the cell that sets the parameters."""
    nbformat = require("nbformat", extra="run", why=_WHY)
    copy = nbformat.from_dict(json.loads(json.dumps(notebook)))
    copy.cells = [cell for cell in copy.cells if _parameters.TAG not in cell.metadata.get("tags", ())]
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if parameters:
        cell = nbformat.v4.new_code_cell(_parameters.source_of(parameters), metadata={"tags": [_parameters.TAG]})
        copy.cells.insert(_parameters.place_for(copy.cells), cell)
    return copy


def text_of(notebook: Any) -> str:
    """Write a notebook as its file holds it."""
    return str(require("nbformat", extra="run", why=_WHY).writes(notebook)).rstrip("\n") + "\n"
