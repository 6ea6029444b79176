"""What all tabs share: ipywidgets, the line of messages, the worker, the code that grows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from colabkit._internal.language import translated
from colabkit.panel import html as _html
from colabkit.panel.actions import Worker, attempted

if TYPE_CHECKING:
    from collections.abc import Callable

_READY = "Ready. Press a button, or copy its line from the tab Code."
_WIDE = "98%"
_LABEL = {"description_width": "90px"}


class WidgetKit:
    """Makes widgets that look alike, and keeps what happens in one place.

    Only what ipywidgets 7.7.1 and 8 have in common is used, and core widgets only: Colab draws no others by itself.
    """

    def __init__(self) -> None:
        self.widgets: Any = importlib.import_module("ipywidgets")
        self.message = self.widgets.HTML(value=_html.message("idle", translated(_READY)))
        self.code = self.widgets.Textarea(
            description=translated("Code"),
            rows=9,
            layout=self.widgets.Layout(width=_WIDE, height="190px"),
            style=_LABEL,
        )
        self._clock = self.widgets.HTML(value="")
        self.worker = Worker(self.say, self._set_busy, self._tell_time)
        self._buttons: list[Any] = []
        self.stop = self.button("Stop", self._stop, always=True)
        self.stop.disabled = True
        self.status = self.widgets.HBox(
            [self.stop, self._clock], layout=self.widgets.Layout(align_items="center", flex_flow="row wrap")
        )
        self._numbers = 0
        self._busy = False
        self._lines: dict[str, str] = {"": "import colabkit as ck"}
        self.code.value = self._lines[""]

    def say(self, kind: str, words: str) -> None:
        """Show a message below the tabs."""
        self._numbers += 1
        self.message.value = _html.message(kind, words, self._numbers)

    def clear(self) -> None:
        """Take down the message of another tab, unless work is going on."""
        if not self._busy:
            self.message.value = _html.message("idle", translated(_READY))

    def note_code(self, topic: str, line: str) -> None:
        """Put into the Code tab what does the same as a button; a later line of the same topic takes its place."""
        self._lines[topic] = line
        self.code.value = "\n".join(self._lines.values())

    def text(self, label: str, *, value: str = "", placeholder: str = "") -> Any:
        """Make a line of input with its label."""
        layout = self.widgets.Layout(width=_WIDE)
        label, placeholder = translated(label), translated(placeholder)
        return self.widgets.Text(value=value, placeholder=placeholder, description=label, layout=layout, style=_LABEL)

    def area(self, label: str, *, value: str = "", placeholder: str = "") -> Any:
        """Make some lines of input with their label."""
        layout = self.widgets.Layout(width=_WIDE, height="84px")
        label, placeholder = translated(label), translated(placeholder)
        return self.widgets.Textarea(
            value=value, placeholder=placeholder, description=label, layout=layout, style=_LABEL
        )

    def words(self, text: str) -> str:
        """Return a text in the user's language."""
        return translated(text)

    def html(self, value: str = "") -> Any:
        """Make a place for HTML."""
        return self.widgets.HTML(value=value, layout=self.widgets.Layout(width=_WIDE))

    def actions(self, *children: Any) -> Any:
        """Put buttons side by side below the inputs, on a new line where they do not fit."""
        row = self.widgets.HBox(list(children), layout=self.widgets.Layout(flex_flow="row wrap"))
        row.add_class("ck-actions")
        return row

    def row(self, *children: Any) -> Any:
        """Put widgets side by side, on a new line where they do not fit."""
        return self.widgets.HBox(list(children), layout=self.widgets.Layout(flex_flow="row wrap"))

    def column(self, *children: Any) -> Any:
        """Put widgets below each other."""
        return self.widgets.VBox(list(children), layout=self.widgets.Layout(width=_WIDE))

    def button(self, label: str, action: Callable[[], object], *, style: str = "", always: bool = False) -> Any:
        """Make a button; what its action raises is shown.

        Args:
            label: Its words.
            action: What it does; quick, or it starts work.
            style: "primary" or "".
            always: It works while something else is at work.
        """
        button = self.widgets.Button(
            description=translated(label),
            button_style=style,
            layout=self.widgets.Layout(width="auto", min_width="90px"),
        )
        button.on_click(lambda _button: self.guard(label, action))
        if not always:
            self._buttons.append(button)
            button.disabled = self._busy
        return button

    def guard(self, name: str, action: Callable[[], object]) -> None:
        """Do something in a callback, where an exception would be lost."""

        def quietly() -> str:
            action()
            return ""

        kind, words = attempted(name, quietly)
        if kind != "ok":
            self.say(kind, words)

    def _stop(self) -> None:
        self.worker.stop()

    def _tell_time(self, words: str) -> None:
        self._clock.value = f'<span class="ck-sub">{_html.text(words)}</span>'

    def _set_busy(self, busy: bool) -> None:
        self._busy = busy
        self.stop.disabled = not busy
        self._clock.value = ""
        for button in self._buttons:
            button.disabled = busy
