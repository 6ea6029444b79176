"""The panel of widgets, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit._internal.language import translated
from colabkit.panel import html
from colabkit.panel.page import Page
from colabkit.panel.tabs.data import DataTab
from colabkit.panel.tabs.drive import DriveTab
from colabkit.panel.tabs.logins import LoginsTab
from colabkit.panel.tabs.packages import PackagesTab
from colabkit.panel.tabs.port import PortTab
from colabkit.panel.tabs.run import RunTab
from colabkit.panel.tabs.runtime import RuntimeTab
from colabkit.panel.tabs.train import TrainTab
from colabkit.panel.widget_kit import WidgetKit

if TYPE_CHECKING:
    from colabkit.checkpoint import Run

_VIEW = "application/vnd.jupyter.widget-view+json"
_BUSY = "While a cell runs, buttons are answered when it ends."


class Panel(Page):
    """The live panel; show it by the last line of a cell."""

    def __init__(self, run: Run | None = None) -> None:
        self.desk = desk = WidgetKit()
        self._packages = PackagesTab(desk)
        runtime = RuntimeTab(desk, self._plan, self._open)
        code = desk.column(desk.html(html.hint("The lines that do the same as the buttons you pressed.")), desk.code)
        here = self.diagnosis.runtime
        self.logins, self.runs = LoginsTab(desk, here), RunTab(desk, run)
        work = (DataTab(desk), DriveTab(desk, here), self.logins, TrainTab(desk), self.runs, PortTab(desk))
        tabs = (runtime, self._packages, *work)
        pages = [*((tab.title, tab.widget) for tab in tabs), ("Code", code)]
        self._titles = [title for title, _ in pages]
        self._tab = desk.widgets.Tab(children=[page for _, page in pages])
        for number, (title, _) in enumerate(pages):
            self._tab.set_title(number, translated(title))  # titles= is known to ipywidgets 8 only
        self._tab.observe(lambda _change: desk.guard("the tab", desk.clear), names="selected_index")
        self._tab.observe(lambda _change: desk.guard("the tab", runtime.lead), names="selected_index")
        head = desk.html(
            f'{html.STYLE}<div><p class="ck-title">colabkit</p>'
            f'<p class="ck-sub">On {html.text(self.diagnosis.runtime.name)}. {html.text(translated(_BUSY))}</p></div>'
        )
        parts = [head, self._tab, desk.message, desk.status]
        self.root = desk.widgets.VBox(parts, layout=desk.widgets.Layout(max_width="760px"))
        self.root.add_class("ck-panel")
        runtime.show(self.diagnosis)

    def _open(self, title: str) -> None:
        self._tab.selected_index = self._titles.index(title)

    def _plan(self, requirements: str) -> None:
        self._tab.selected_index = 1
        self._packages.requirements.value = requirements
        self._packages.plan()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data: dict[str, Any] = {
            "text/plain": str(self),
            _VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.root.model_id},
        }
        if self.diagnosis.runtime.host != "colab":  # which of the two Colab would draw is not known
            data["text/html"] = self._repr_html_()
        display(data, raw=True)
