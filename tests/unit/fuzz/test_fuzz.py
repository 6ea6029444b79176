"""Whatever bytes come, a parser gives a value or one of our errors: nothing else is raised, nothing runs on.

`COLABKIT_FUZZ_SECONDS=60 pytest tests/unit/fuzz` tries each parser for a minute; `COLABKIT_FUZZ_SEED` begins elsewhere.
A failure names the input, which then belongs into KNOWN.
"""

from __future__ import annotations

import json
import os
import random
import time
import warnings

import pytest

from colabkit.errors import ColabKitError
from tests.unit.fuzz.mutate import mutated, mutated_json
from tests.unit.fuzz.targets import FORGERS, JSON, TARGETS

SECONDS = float(os.environ.get("COLABKIT_FUZZ_SECONDS", "0.25"))
SEED = os.environ.get("COLABKIT_FUZZ_SEED", "0")
SLOWEST = 5.0

pytestmark = pytest.mark.filterwarnings("ignore")


def attempt(name, data, folder):
    """Let a parser read it; anything but our errors fails the test with the input."""
    parse, _ = TARGETS[name]
    began = time.process_time()  # not the clock's: other work may load the machine
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parse(data, folder)
    except ColabKitError as error:
        str(error).encode()  # it can be shown and written
        json.dumps(error.to_json()).encode()
    except Exception as error:  # noqa: BLE001 - that is the claim
        pytest.fail(f"{name}: {type(error).__name__}: {error!s:.300} of {data[:3000]!r}")
    assert time.process_time() - began < SLOWEST or SECONDS < 1, (name, data[:3000])


def damaged(name, draw):
    """Make one input."""
    data = draw.choice(TARGETS[name][1])
    if name in FORGERS and draw.random() < 0.9:
        return FORGERS[name](draw, data)
    if name in JSON and draw.random() < 0.6:
        return json.dumps(mutated_json(draw, json.loads(data))).encode() + b"\n"
    return mutated(draw, data)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_input_is_read(name, tmp_path):
    """The examples are what a parser is for, so that what is damaged was sound."""
    for data in TARGETS[name][1]:
        attempt(name, data, tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_is_refused_in_words(name, tmp_path):
    """Bits, cuts, copies, deep nesting, huge numbers, halves of letters."""
    for data in TARGETS[name][1]:
        attempt(name, data, tmp_path)  # imports are not what is timed
    draw = random.Random(f"{SEED} {name}")  # noqa: S311 - test data
    until, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < until or tried < 3:
        attempt(name, damaged(name, draw), tmp_path)
        tried += 1
    if SECONDS >= 1:
        print(f"{name}: {tried:,} inputs")  # noqa: T201 - asked for by the long run


KNOWN = [
    ("page", b"<!doctype html><html><![[[[dobtype htm><title>Quota exceeded</title>"),
    ("csv", b"label,pixel0,pixel1,pixel2\r7,255,0,1\r1,0,0,3\r"),
    ("csv", b'label,pixel0,pixel1,pixel2\n7,255,0,"' + b"1" * 140_000 + b'"\n'),
    ("requirement", b"x @ http://[::1/x.whl"),
    ("requirement", b"x @ https://[/a"),
    ("lock.json", b"[" * 9000),
    ("lock.json", b'{"session": "x", "host": "\\ud800", "pid": [[]]}'),
    ("set-up", b"a = " + b"[" * 3000 + b"]" * 3000),
    ("set-up", b"a = " + b"9" * 5000),
    ("notebook", json.dumps({"nbformat": 4, "nbformat_minor": "x", "metadata": {}, "cells": []}).encode()),
    ("notebook", b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {"x": "\\ud800"}, "cells": []}'),
    ("logs", b"[" * 9000 + b"\n"),
    ("block", b"# /// script\n# dependencies = ['n" + b"a" * 140_000 + b"']\n# ///\n"),
    ("requirement", b"n" + b"a" * 140_000),
    ("parameters", b"x={{'a':1}}"),
    ("headers", "bytes 0-٣/٤".encode()),
]


@pytest.mark.parametrize(("name", "data"), KNOWN, ids=[f"{name}-{number}" for number, (name, _) in enumerate(KNOWN)])
def test_what_was_found_once_stays_mended(name, data, tmp_path):
    """Inputs that had raised something else."""
    attempt(name, data, tmp_path)
