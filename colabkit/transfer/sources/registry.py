"""The table of sources: how a text is recognised, and the one file that knows what it means.

A new source is one new file with `open_source(text) -> Order`, and one row here. The first row that recognises a text
takes it; its file is imported then, and not before.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from colabkit._internal.foreign import reading
from colabkit.errors import AddressError
from colabkit.transfer import schemes
from colabkit.transfer.commands.calls import BEGINS as CALL
from colabkit.transfer.commands.calls import is_call, refuse_code
from colabkit.transfer.commands.programs import is_command

if TYPE_CHECKING:
    from colabkit._engine.source import ParsedSource

COMMAND = r"\s*(?:[!$%>]\s*)*"
"""What may stand before a pasted command: the prompt of a shell or a notebook."""


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
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
    SourceSpec(
        module="commands.shell",
        begins=COMMAND + r"(?:[A-Za-z_]\w*=\S*\s+(?:&&\s+)?)*(?:[\w./-]+|\[)(?:[\s;&|]|$)|" + COMMAND + r"\(",
        takes="a pasted curl, wget, aria2c, gdown, kaggle, gsutil, gcloud storage, hf, unzip, tar or 7z command",
    ),
    SourceSpec(
        module="commands.calls",
        begins=CALL,
        takes="a call of gdown, kagglehub or huggingface_hub with its arguments written out",
    ),
    SourceSpec(
        module="sources.gcs",
        begins=r"\s*gs:|\s*https?://(?:storage\.cloud|console\.cloud)\.google\.com/",
        takes="gs://BUCKET/OBJECT",
        extra="gcs",
    ),
    SourceSpec(
        module="sources.kaggle",
        begins=r"\s*kaggle:|\s*https?://(?:www\.|api\.)?kaggle\.com(?:[:/?#]|\s*$)",
        takes="kaggle:OWNER/DATASET or an address of kaggle.com",
    ),
    SourceSpec(
        module="sources.gdrive",
        begins=r"\s*https?://(?:drive|docs|drive\.usercontent)\.google\.com(?:[:/?#]|\s*$)"
        r"|\s*(?:1[-\w]{32}|0B[-\w]{26})\s*$",
        takes="a Google Drive link",
        extra="drive",
    ),
    SourceSpec(
        module="sources.huggingface",
        begins=r"\s*hf:|\s*https?://(?:www\.)?(?:huggingface\.co|hf\.co)/(?!api/|docs/|blog/|papers/|collections/)"
        r"(?:(?:datasets|spaces)/)?[\w.-]+/[\w.-]+(?:/(?:blob|tree)/[^?#]*)?/?(?:[?#]|\s*$)",
        takes="hf:OWNER/NAME[@REF][/FILE] of Hugging Face's Hub",
        extra="hf",
    ),
    SourceSpec(
        module="sources.modelscope",
        begins=r"\s*modelscope:|\s*https?://(?:www\.)?modelscope\.cn/(?:models|datasets)/",
        takes="modelscope:OWNER/NAME[@REF][/FILE]",
    ),
    SourceSpec(module="sources.github", begins=r"\s*github:", takes="github:OWNER/REPO[@REF]"),
    SourceSpec(module="sources.drive_path", begins=r"\s*drive:", takes="drive:PATH", extra="drive"),
    SourceSpec(module="sources.web", begins=r"\s*https?:", takes="an https or http address"),
)
_DECIDES = {"commands.shell": is_command, "commands.calls": is_call}
"""What looks like one of these may be something else: a path with a blank, or with a bracket."""
_PROMPT = re.compile(r"\A\s*In \[\d*\]:\s*")
"""What a cell is copied with."""
_COMMENTS = re.compile(r"\A(?:\s*#[^\n]*\n)+(?=\s*[!%$\w])")
SCHEMES = ("https:", "http:", "gs:", "kaggle:", "hf:", "modelscope:", "github:", "drive:", "file:")


def _unreadable(_: str) -> AddressError:
    """Make the error without the reason, which may repeat a password of the text."""
    return AddressError(
        "cannot read what is to be fetched", hint="write it without quotes and options that it does not need"
    )


@functools.cache
def _patterns() -> list[tuple[SourceSpec, re.Pattern[str]]]:
    return [(row, re.compile(row.begins, re.IGNORECASE)) for row in SOURCES]


@functools.cache
def _any_of_a_service() -> re.Pattern[str]:
    """Return what every kind of source begins with but a plain address, which is the last one."""
    return re.compile("|".join(f"(?:{row.begins})" for row in SOURCES[:-1]), re.IGNORECASE)


def open_source(text: str) -> ParsedSource:
    """Find out what a text names; nothing is asked and nothing but the one file is imported.

    Raises:
        AddressError: It names nothing that can be fetched.

    Example:
        >>> open_source("https://example.org/digits.csv").source.name
        'digits.csv'
    """
    text = _PROMPT.sub("", text)
    if text.lstrip().startswith("#"):
        text = _COMMENTS.sub("", text)  # a cell often says first what its line does
    is_plain = text.startswith(("https:", "http:")) and not _any_of_a_service().match(text)
    for row, begins in _patterns()[-1:] if is_plain else _patterns():
        if begins.match(text):
            if row.module in _DECIDES and not _DECIDES[row.module](text):
                continue
            order: ParsedSource
            module = importlib.import_module(f"colabkit.transfer.{row.module}")
            with reading(_unreadable):
                order = module.open_source(text)
            return order
    if scheme := schemes.unknown(text):
        raise schemes.refused(text, scheme, "fetch from", [row.takes for row in SOURCES], SCHEMES)
    from colabkit._engine import local

    order = local.open_source(text)
    if isinstance(order.source, Path) and "(" in text and not os.path.lexists(order.source):
        refuse_code(text)
    return order
