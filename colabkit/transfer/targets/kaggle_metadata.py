"""How a new dataset or model is described: the JSON files of Kaggle's own program, or the name alone."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit._clients.kaggle.handle import Handle

METADATA = "dataset-metadata.json"
MODEL = "model-metadata.json"
INSTANCE = "model-instance-metadata.json"
NOT_SENT = {"datasets": (METADATA,), "models": (MODEL, INSTANCE)}
"""The files that describe, and are no part of a version, by the kind of the handle."""

_MOST = 1 << 20


def read_metadata(folder: Path | None, handle: Handle) -> dict[str, Any]:
    """Return the fields of a new dataset, as kagglesdk calls them.

    Args:
        folder: Where the file may lie; None, or one without it, makes the name the title.
        handle: The dataset.

    Raises:
        AddressError: The file cannot be used, or the name is none that Kaggle gives to a new dataset.
    """
    if not 6 <= len(handle.name) <= 50:
        raise AddressError(
            f"Kaggle has no {handle}, and accepts no new dataset of that name",
            why=f"it is {len(handle.name)} letters long, and 6 to 50 are allowed",
            hint="choose another name",
        )
    path = None if folder is None else folder / METADATA
    if path is None or not path.is_file():
        return {"title": handle.name}
    return {"title": handle.name, **_fields(path, _object(path), "/".join(handle.slugs))}


def read_model_metadata(folder: Path | None, handle: Handle) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of a new model and of a new variation, as kagglesdk calls them.

    Args:
        folder: Where the files may lie; None, or one without them, makes the name the title.
        handle: The model's variation.

    Raises:
        AddressError: A file cannot be used.
    """
    model: dict[str, Any] = {"title": handle.name}
    named = {"ownerSlug": handle.owner, "slug": handle.name}
    if (value := _described(folder, MODEL, named)) is not None:
        model |= _plain(value, {"title": str, "subtitle": str, "description": str})
    variation: dict[str, Any] = {}
    named = {"ownerSlug": handle.owner, "modelSlug": handle.name, "instanceSlug": handle.variation}
    if (value := _described(folder, INSTANCE, named)) is not None:
        texts = {"overview": str, "usage": str, "licenseName": str}
        variation = _plain(value, {**texts, "fineTunable": bool, "trainingData": list})
    return model, variation


def _described(folder: Path | None, name: str, named: Mapping[str, str]) -> tuple[Path, dict[str, Any]] | None:
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        return None
    value = _object(path, "model")
    for field, expected in named.items():
        if value.get(field, expected) != expected:
            raise _wrong(path, f"its {field} is not {expected}", "model")
    return path, value


def _plain(described: tuple[Path, dict[str, Any]], fields: Mapping[str, type]) -> dict[str, Any]:
    path, value = described
    made = {}
    for field, kind in fields.items():
        content = value.get(field)
        if content is None or content == "":
            continue
        if not isinstance(content, kind) or (isinstance(content, list) and not all(type(x) is str for x in content)):
            raise _wrong(path, f"its {field} cannot be read", "model")
        made[re.sub(r"(?=[A-Z])", "_", field).lower()] = content
    return made


def _object(path: Path, kind: str = "dataset") -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        raise _wrong(path, "it cannot be read as JSON", kind) from None
    if not isinstance(value, dict):
        raise _wrong(path, "it holds no object", kind)
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
            raise _wrong(path, f"its {field} is not a text of {shortest} to {longest} letters")
        made[field] = text
    if "keywords" in value:
        made["category_ids"] = _texts(path, "keywords", value["keywords"])
    if "licenses" in value:
        licenses = value["licenses"] if isinstance(value["licenses"], list) else []
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in licenses]
        if len(names) != 1:
            raise _wrong(path, "its licenses are not a list of exactly one")
        made["license_name"] = _texts(path, "license", names)[0]
    return made


def _texts(path: Path, name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(path, f"its {name} cannot be read")
    return value


def _wrong(path: Path, why: str, kind: str = "dataset") -> AddressError:
    return AddressError(f"{path} cannot be used for a new {kind}", why=why, hint="fix or delete it")
