"""The panel leads: where the user is in four steps, and a command that does what the fields of the tab Train say."""

from __future__ import annotations

import threading
from importlib.util import find_spec

import pytest

from colabkit.diagnosis import Diagnosis
from colabkit.errors import DataError, StorageError
from colabkit.panel.actions import Worker
from colabkit.panel.steps import steps, to_html
from colabkit.runtime import detect

needs_widgets = pytest.mark.skipif(
    find_spec("ipywidgets") is None, reason="ipywidgets is missing: pip install ipywidgets"
)


def test_the_next_step_is_the_first_that_is_not_done(tmp_path):
    """Nothing yet: data; a run with checkpoints: its results; the names on disk become no markup."""
    diagnosis = Diagnosis(runtime=detect(), findings=(), checks=())
    found = steps(diagnosis, tmp_path)
    assert [(one.name, one.done) for one in found] == [
        ("Runtime", True),
        ("Data", False),
        ("Train", False),
        ("Results", False),
    ]
    (tmp_path / "digits" / "checkpoints").mkdir(parents=True)
    (tmp_path / "digits" / "model.zip").touch()
    found = steps(diagnosis, tmp_path)
    assert [one.done for one in found] == [True, True, True, False]
    assert found[3].words == "1 trained models"
    assert to_html(found).count("data-ck-step") == 4


class Events:
    """What a worker tells."""

    def __init__(self):
        self.said, self.ended = [], threading.Event()
        self.worker = Worker(self.say, lambda _busy: None)

    def say(self, kind, words):
        """Keep it; whatever is not work in progress is an end."""
        self.said.append((kind, words))
        if kind != "work":
            self.ended.set()


def test_stop_leaves_a_plan_alone_and_code_is_noted_when_it_went_well():
    """A plan that hangs gives the buttons back at once; what it says later is not shown; a failure notes no code."""
    events, gate, noted = Events(), threading.Event(), []

    def plan():
        gate.wait(30)
        return "planned"

    assert events.worker.start("planning", plan, done=lambda: noted.append("plan"), may_leave=True)
    assert not events.worker.start("other", plan)
    events.ended.clear()
    events.worker.stop()
    assert events.ended.wait(10)
    assert events.said[-1] == ("warning", "stopped waiting; nothing was changed")
    events.ended.clear()
    assert events.worker.start("working", lambda: "well", done=lambda: noted.append("work"))
    assert events.ended.wait(10)
    gate.set()
    events.ended.clear()

    def fail():
        raise StorageError("it failed")

    while not events.worker.start("failing", fail, done=lambda: noted.append("fail")):
        pass
    assert events.ended.wait(10)
    assert events.said[-1] == ("problem", "it failed")
    assert noted == ["work"]
    assert ("ok", "planned") not in events.said


@needs_widgets
def test_the_fields_of_the_tab_train_are_a_command():
    """Empty fields are left to `train`; a function of one's own takes the model's place; nonsense is refused."""
    from colabkit.panel.tabs.train import TrainTab
    from colabkit.panel.widget_kit import WidgetKit

    tab = TrainTab(WidgetKit())
    assert tab.words() == ["train", "mnist-mlp"]
    tab.data.value, tab._epochs.value, tab._time.value = "sample", "3", "50 min"
    assert tab.words() == ["train", "mnist-mlp", "--data", "sample", "--epochs", "3", "--time", "50 min"]
    tab._model.value = "a function of yours"
    with pytest.raises(DataError, match=r"train\.py:build"):
        tab.words()
    tab._build.value = "train.py:build"
    assert tab.words()[:2] == ["train", "train.py:build"]
    tab._epochs.value = "many"
    with pytest.raises(DataError, match="Epochs=many"):
        tab.words()
