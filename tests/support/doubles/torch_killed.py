"""What the doubles of torch trainings share: cases in forks that are killed, and one line of JSON for each.

Importing torch takes seconds, so one process trains all cases, each in a fork of its own. A case is `NAME` or
`NAME:KILL,KILL`, killed there and run again. KILL is a step (`7`), a step and a place in it (`7/begin`,
`7/evaluate`), a step and a signal (`7/15`) or seconds (`t0.3`). Users set no seed: all first processes begin with the
same random states, all later ones with others.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # what the first optimizer of a process imports, for 1.6 s; here once, not in each fork

from colabkit.errors import ColabKitError


class Killed:
    """Ends the process at a step, from the third one on with a state of the run on the disk where it is named."""

    def __init__(self, where, folder=None):
        self.states = None if folder is None else Path(folder)
        step, _, place = (where or "0").partition("/")
        self.step = 0 if step.startswith("t") else int(step)
        self.number = int(place) if place.isdigit() else signal.SIGKILL
        self.place = "end" if place.isdigit() else place or "end"

    def at(self, step, place="end"):
        """Come by a place."""
        if step == self.step and place == self.place:
            until = time.monotonic() + 60
            while self.states and step > 2 and not any(self.states.rglob("step-*")) and time.monotonic() < until:
                time.sleep(0.005)
            os.kill(os.getpid(), self.number)


class Lines(logging.Handler):
    """Collects what colabkit says from now on."""

    def __init__(self):
        super().__init__()
        self.lines = []
        logging.getLogger("colabkit").addHandler(self)
        logging.getLogger("colabkit").setLevel(logging.INFO)

    def emit(self, record):
        self.lines.append(record.getMessage())


def in_a_child(train, folder, name, where=None, *, again=False):
    """Train in a process of its own; return what it gives, or its signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(2, 1)
        try:
            torch.set_num_threads(1)
            seed = int.from_bytes(os.urandom(4), "little") if again else 1  # Python and NumPy seed forks anew
            random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
            if again:
                os.environ["AGAIN"] = "1"
            try:
                told = train(folder, name, where)
            except ColabKitError as error:
                told = f"{type(error).__name__}: {error}"
            with open(writing, "w") as pipe:
                json.dump(told, pipe)
        except (KeyboardInterrupt, SystemExit):
            os._exit(3)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    if where and where[0] == "t" and where[1].isdigit():
        time.sleep(float(where[1:]))
        os.kill(child, signal.SIGKILL)
    with open(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return json.loads(text) if code == 0 else code


def main(train, *, twice=False):
    """Run the cases of the command line: FOLDER CASE...

    Args:
        train: Gives what is to be compared, of a folder, a name and a kill.
        twice: Run what has ended once more; it has nothing to do.
    """
    root, *cases = sys.argv[1:]
    whole = {}
    for number, text in enumerate(cases):
        name, _, kills = text.partition(":")
        folder = Path(root) / str(number)
        if name not in whole:
            whole[name] = json.dumps(in_a_child(train, f"{folder}-whole", name))  # numbers of ours are no user's
        places = [where for where in kills.split(",") if where]
        ends = [in_a_child(train, folder, name, where, again=at > 0) for at, where in enumerate(places)]
        told = json.dumps({"case": text, "ends": ends, "result": in_a_child(train, folder, name, again=bool(places))})
        more = {"again": in_a_child(train, folder, name, again=True)} if twice else {}
        print(json.dumps(json.loads(told) | more | {"whole": json.loads(whole[name])}), flush=True)
        del more
