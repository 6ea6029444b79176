"""What a browser does with a notebook's page: show a cell's output, and run the scripts that google.colab sends it."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

JAVASCRIPT = "application/javascript"
_PIECE = 100 << 10
_DIALOG = re.compile(r'<input type="file" id="(files-[-\w]+)"[^>]*>')
_UPLOAD = re.compile(r'google\.colab\._files\._uploadFiles\("([-\w]+)", "([-\w]+)"\)')
_UPLOAD_ON = re.compile(r'google\.colab\._files\._uploadFilesContinue\("([-\w]+)"\)')
_DOWNLOAD = re.compile(r"download(\(.*\))", re.DOTALL)
_VIEW = re.compile(r'google\.colab\.files\.view\(.*\(("(?:[^"\\]|\\.)*")\)', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Display:
    """Something that a cell showed beside plain text.

    Attributes:
        data: What it is, by its types.
        metadata: What the kernel said about it.
    """

    data: Mapping[str, Any]
    metadata: Mapping[str, Any]


@dataclass
class CellOutput:
    """The text of a cell, with the tags that it was shown under, until it is cleared."""

    _pieces: list[tuple[frozenset[str], str]] = field(default_factory=list)
    _tags: frozenset[str] = frozenset()
    _clear_before_next: frozenset[str] | None = None

    @property
    def text(self) -> str:
        """What is still there."""
        return "".join(text for _, text in self._pieces)

    def add(self, text: str) -> None:
        """Show more."""
        if self._clear_before_next is not None:
            self._clear(self._clear_before_next)
        self._pieces.append((self._tags, text))

    def tag(self, area: Mapping[str, Any]) -> None:
        """Change the tags for what is shown from now on."""
        self._tags = (self._tags | set(area.get("add_tags", ()))) - set(area.get("remove_tags", ()))

    def clear(self, content: Mapping[str, Any]) -> None:
        """Clear what has all of the tags, now or when more is shown."""
        tags = frozenset(content.get("output_tags", ()))
        if content.get("wait"):
            self._clear_before_next = tags
        else:
            self._clear(tags)

    def _clear(self, tags: frozenset[str]) -> None:
        self._pieces = [piece for piece in self._pieces if not tags <= piece[0]]
        self._clear_before_next = None


@dataclass
class Page:
    """The page, and the user in front of it.

    Attributes:
        displays: What the cells showed, oldest first.
        uploads: What the user chooses when asked for files; {} cancels, and None leaves the dialog open.
        runs_scripts: Whether it is a browser's.
        viewed: The files that were opened in the viewer.
        downloads: The files that arrived in the browser, by name.
        to_download: What the cell hands to the browser: the name of the channel, and the file's.
    """

    uploads: Mapping[str, bytes] | None = None
    displays: list[Display] = field(default_factory=list)
    runs_scripts: bool = True
    viewed: list[str] = field(default_factory=list)
    downloads: dict[str, bytes] = field(default_factory=dict)
    to_download: list[tuple[str, str]] = field(default_factory=list)
    _dialogs: dict[str, bool] = field(default_factory=dict)  # whether each takes more than one file
    _chosen: dict[str, Iterator[dict[str, Any]]] = field(default_factory=dict)

    def show(self, display: Display) -> None:
        """Show something; its scripts run, if this is a browser's page."""
        self.displays.append(display)
        if dialog := _DIALOG.search(str(display.data.get("text/html", ""))):
            self._dialogs[dialog[1]] = " multiple " in dialog[0]
        script = str(display.data.get(JAVASCRIPT, "")) if self.runs_scripts else ""
        if download := _DOWNLOAD.fullmatch(script):
            target, name, _ = json.loads(f"[{download[1][1:-1]}]")
            self.to_download.append((target, name))
        elif view := _VIEW.search(script):
            self.viewed.append(json.loads(view[1]))

    def knows(self, script: str) -> bool:
        """Say whether a script is about uploads, which the page itself has the functions for."""
        return bool(_UPLOAD.fullmatch(script) or _UPLOAD_ON.fullmatch(script))

    def evaluate(self, script: str) -> dict[str, Any] | None:
        """Return the value of a script about uploads; None where the user has not chosen yet."""
        if upload := _UPLOAD.fullmatch(script):
            if self.uploads is None:
                return None
            chosen = self.uploads if self._dialogs[upload[1]] else dict(list(self.uploads.items())[:1])
            self._chosen[upload[2]] = _steps(chosen)
            return next(self._chosen[upload[2]])
        going_on = _UPLOAD_ON.fullmatch(script)
        return next(self._chosen[going_on[1]]) if going_on else None


def _steps(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    yield {"action": "starting"}
    for name, data in files.items():
        yield {"action": "continue"}
        for start in range(0, max(len(data), 1), _PIECE):
            piece = base64.b64encode(data[start : start + _PIECE]).decode()
            yield {"action": "append", "file": name, "data": piece}
    yield {"action": "complete"}
