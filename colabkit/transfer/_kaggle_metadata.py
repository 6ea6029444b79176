"""What a new dataset is called: dataset-metadata.json, as Kaggle's own program reads it, or the name alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from pathlib import Path

    from colabkit.transfer._kaggle_handle import Handle

METADATA = "dataset-metadata.json"
_MOST = 1 << 20


def read_metadata(folder: Path | None, handle: Handle) -> dict[str, Any]:
    """Return the fields of a new dataset, for the interface.

    Args:
        folder: Where the file may lie; None, or one without it, makes the name the title.
        handle: The dataset.

    Raises:
        AddressError: The file cannot be used, or the name is none that Kaggle gives to a new dataset.
    """
    if not 6 <= len(handle.name) <= 50:
        raise AddressError(
            f"Kaggle has no {handle}, and gives no new dataset such a name",
            why=f"it is {len(handle.name)} letters long, and 6 to 50 are allowed",
            do="choose another name",
        )
    path = None if folder is None else folder / METADATA
    if path is None or not path.is_file():
        return {"title": handle.name}
    return {"title": handle.name, **_fields(path, _object(path), "/".join(handle.slugs))}


def _object(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        raise _wrong(path, "it cannot be read as JSON") from None
    if not isinstance(value, dict):
        raise _wrong(path, "it holds no object")
    return value


def _fields(path: Path, value: dict[str, Any], name: str) -> dict[str, Any]:
    if value.get("id", name) != name:
        raise _wrong(path, f"its id is not {name}")
    made: dict[str, Any] = {}
    for field, shortest, longest in (("title", 6, 50), ("subtitle", 20, 80), ("description", 0, _MOST)):
        text = value.get(field)
        if text is None or text == "":
            continue
        if not isinstance(text, str) or not shortest <= len(text) <= longest:
            raise _wrong(path, f"its {field} is no text of {shortest} to {longest} letters")
        made[field] = text
    if "keywords" in value:
        made["categoryIds"] = _texts(path, "keywords", value["keywords"])
    if "licenses" in value:
        licenses = value["licenses"] if isinstance(value["licenses"], list) else []
        names = [one.get("name") if isinstance(one, dict) else None for one in licenses]
        if len(names) != 1:
            raise _wrong(path, "its licenses are not a list of exactly one")
        made["licenseName"] = _texts(path, "license", names)[0]
    return made


def _texts(path: Path, name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise _wrong(path, f"its {name} cannot be read")
    return value


def _wrong(path: Path, why: str) -> AddressError:
    return AddressError(f"{path} cannot be used for a new dataset", why=why, do="mend it, or take it away")
