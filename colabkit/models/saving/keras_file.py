"""Whole models as Keras 3 saves them: looked through before Keras builds what they name.

Keras has its own safe mode; several ways past it were found in recent years (CVE-2025-1550, -8747, -9906, -12058), and
older Keras is what old images have. So the configuration is read here first: it may name Keras' own layers, losses and
the like, and nothing else; and the model that it describes may not be larger than its weights.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from colabkit._patches.keras_variable_budget import OverBudgetError, variables_at_most
from colabkit.errors import ModelFileError, UnsafeModelError
from colabkit.models.saving import weights, zip_reader
from colabkit.models.saving.config_check import ConfigCheck

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_LONGEST_JSON = 32 << 20
_SPARE = 4  # times the stored weights that a model's variables may have: slots of an optimizer, unpacked weights
_ALWAYS = 1 << 24  # numbers that it may have in any case


def read(path: Path, name: str, *, trusted: bool) -> Any:
    """Load a `.keras` file.

    Args:
        path: The file.
        name: What to call it in messages.
        trusted: Allow code of its own.

    Raises:
        ModelFileError: It is damaged, or of another Keras.
        UnsafeModelError: It would run code or read other files.
    """
    import keras

    with (
        open(path, "rb") as file,
        zip_reader.opened(file, name, needed=(_CONFIG, _METADATA, _WEIGHTS), allowed=("assets/",)) as archive,
    ):
        config = _object(archive, _CONFIG, name)
        metadata = _object(archive, _METADATA, name)
        with zip_reader.extracted(archive, _WEIGHTS, name) as extracted:
            stored = weights.check(extracted, f"{_WEIGHTS} in {name}")
    if not trusted:
        ConfigCheck(name, stored=stored).check(config, _CONFIG)
    most = max(_ALWAYS, _SPARE * stored)
    try:
        with contextlib.nullcontext() if trusted else variables_at_most(most):
            return keras.saving.load_model(path, safe_mode=not trusted)
    except OverBudgetError as error:
        raise UnsafeModelError(
            f"{name} describes a model of more than {most:,} numbers",
            why=f"its weights are {stored:,}; {error}",
            hint="do not use it, or pass trusted=True if you made it yourself",
        ) from error
    except Exception as error:  # Keras raises what it likes of a configuration
        written, here = metadata.get("keras_version", "unknown"), keras.__version__
        raise ModelFileError(
            f"{name} cannot be loaded as a model",
            why=str(error).strip().partition("\n")[0][:300],
            hint=f"it was written by Keras {written}, and this is {here}: "
            f"{'use that version' if written != here else 'save it again'}",
        ) from error


def _object(archive: zipfile.ZipFile, member: str, name: str) -> dict[str, Any]:
    try:
        value = json.loads(zip_reader.read(archive, member, name, most=_LONGEST_JSON))
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the member {member!r} of {name} is not JSON", why=str(error), hint="save it again"
        ) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"the member {member!r} of {name} holds no object", hint="save it again")
    return value
