"""Texts and JSON that Hypothesis makes up: a parser gives a value or one of our errors, as in `test_fuzz.py`.

`COLABKIT_FUZZ_EXAMPLES=100000 pytest tests/unit/fuzz/test_hypothesis.py` tries more of them.
"""

from __future__ import annotations

import json
import os
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.fuzz.targets import JSON, TARGETS
from tests.unit.fuzz.test_fuzz import attempt

EXAMPLES = int(os.environ.get("COLABKIT_FUZZ_EXAMPLES", "15"))
TEXTS = (
    "headers",
    "page",
    "command",
    "requirement",
    "requirements file",
    "parameters",
    "set-up",
    "block",
    "csv",
    "logs",
)
OBJECTS = sorted(JSON - {"lock.json"})  # whose holder is waited for

KEYS = st.sampled_from(sorted({key for name in OBJECTS for data in TARGETS[name][1] for key in json.loads(data)}))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(
        [
            "curl -o",
            "wget ",
            "[data]\n",
            "x = ",
            "'",
            '"',
            "\\",
            "\n",
            "# ///",
            "-H ",
            "@",
            "==",
            ";",
            "${A}",
            "{b}",
            ",",
            "://",
        ]
    ),
    max_size=12,
)
COMMON = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 100,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", TEXTS)
def test_any_text_is_read_or_refused(name):
    """Letters of all scripts, control characters, and pieces of what each parser knows."""

    @COMMON
    @given(WORDS)
    def hold(words):
        with tempfile.TemporaryDirectory() as folder:
            attempt(name, "".join(words).encode("utf-8", "surrogatepass"), folder)

    hold()


@pytest.mark.parametrize("name", OBJECTS)
def test_any_json_is_read_or_refused(name):
    """Objects with the right keys and other values, deep and shallow."""

    @COMMON
    @given(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
    def hold(value):
        with tempfile.TemporaryDirectory() as folder:
            attempt(name, json.dumps(value).encode() + b"\n", folder)

    hold()
