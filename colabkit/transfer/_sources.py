"""The table of sources: how a text is recognised, and the one file that knows what it means.

A new source is one new file with `open_source(text) -> Order`, and one row here. The first row that recognises a text
takes it; its file is imported then, and not before.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from colabkit.transfer.base import Order

COMMAND = r"\s*(?:[!$%>]\s*)*"
"""What may stand before a pasted command: the prompt of a shell or a notebook."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of source.

    Attributes:
        module: The file of this folder that reads it.
        begins: What the text begins with, in any case.
        takes: What it is called in messages and in the documentation.
        extra: The extra that brings the packages it needs, or "" when it needs none.
    """

    module: str
    begins: str
    takes: str
    extra: str = ""


SOURCES = (
    Row(
        module="_curl",
        begins=COMMAND + r"(?:curl(?:\.exe)?|wget)\s+\S",
        takes="a curl or wget command",
    ),
    Row(
        module="_gsutil",
        begins=COMMAND + r"(?:gsutil|gcloud)\s+\S",
        takes="a gsutil cp or gcloud storage cp command",
        extra="gcs",
    ),
    Row(
        module="_gcs",
        begins=r"\s*gs:|\s*https?://(?:storage\.cloud|console\.cloud)\.google\.com/",
        takes="gs://BUCKET/OBJECT",
        extra="gcs",
    ),
    Row(
        module="_kaggle",
        begins=COMMAND + r"kaggle\s+\S|\s*kaggle:|\s*https?://(?:www\.|api\.)?kaggle\.com(?:[:/?#]|\s*$)",
        takes="kaggle:OWNER/DATASET or an address of kaggle.com",
    ),
    Row(
        module="_gdrive",
        begins=r"\s*https?://(?:drive|docs|drive\.usercontent)\.google\.com(?:[:/?#]|\s*$)"
        r"|\s*(?:1[-\w]{32}|0B[-\w]{26})\s*$",
        takes="a Google Drive link",
        extra="drive",
    ),
    Row(module="_drive_path", begins=r"\s*drive:", takes="drive:PATH", extra="drive"),
    Row(module="_web", begins=r"\s*https?:", takes="an https or http address"),
)


def open_source(text: str) -> Order:
    """Find out what a text names; nothing is asked and nothing but the one file is imported.

    Raises:
        AddressError: It names nothing that can be fetched.

    Example:
        >>> open_source("https://example.org/digits.csv").source.name
        'digits.csv'
    """
    for row in SOURCES:
        if re.match(row.begins, text, re.IGNORECASE):
            order: Order = importlib.import_module(f"colabkit.transfer.{row.module}").open_source(text)
            return order
    scheme = text.strip().partition(":")[0].lower()
    if "://" in text and scheme != "file":
        raise AddressError(
            f"cannot fetch from {scheme[:20]}:// addresses",
            why=f"what can be fetched is {', '.join(row.takes for row in SOURCES)}, or a path",
            do="use an https address of the file",
        )
    from colabkit.transfer import _local

    return _local.open_source(text)
