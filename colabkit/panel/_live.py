"""The panel of widgets, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colabkit.panel import _html
from colabkit.panel._desk import Desk
from colabkit.panel._static import Page
from colabkit.panel._tab_data import DataTab
from colabkit.panel._tab_drive import DriveTab
from colabkit.panel._tab_packages import PackagesTab
from colabkit.panel._tab_run import RunTab
from colabkit.panel._tab_runtime import RuntimeTab

if TYPE_CHECKING:
    from colabkit.checkpoint import Run

_VIEW = "application/vnd.jupyter.widget-view+json"
_BUSY = "While a cell runs, buttons are answered when it ends."


class Panel(Page):
    """The live panel; show it by the last line of a cell."""

    def __init__(self, run: Run | None = None) -> None:
        self.desk = desk = Desk()
        self._packages = PackagesTab(desk)
        runtime = RuntimeTab(desk, self._plan)
        code = desk.column(desk.html(_html.hint("The lines that do the same as the buttons you pressed.")), desk.code)
        tabs = (runtime, self._packages, DataTab(desk), DriveTab(desk), RunTab(desk, run))
        pages = [*((tab.title, tab.widget) for tab in tabs), ("Code", code)]
        self._tab = desk.widgets.Tab(children=[page for _, page in pages])
        for number, (title, _) in enumerate(pages):
            self._tab.set_title(number, title)  # titles= is known to ipywidgets 8 only
        self._tab.observe(lambda _change: desk.guard("the tab", desk.clear), names="selected_index")
        head = desk.html(
            f'{_html.STYLE}<div><p class="ck-title">colabkit</p>'
            f'<p class="ck-sub">On {_html.text(self.diagnosis.runtime.name)}. {_html.text(_BUSY)}</p></div>'
        )
        self.root = desk.widgets.VBox([head, self._tab, desk.message], layout=desk.widgets.Layout(max_width="760px"))
        self.root.add_class("ck-panel")
        runtime.show(self.diagnosis)

    def _plan(self, requirements: str) -> None:
        self._tab.selected_index = 1
        self._packages.wanted.value = requirements
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
