"""A working folder that was deleted: what needs none works, and what needs it says so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

VERBS = {
    "detect": "ck.detect().to_json()",
    "doctor": "ck.doctor()",
    "secret": "ck.secret('NOBODY', None)",
    "install": "ck.install('packaging')",
    "health": "ck.drive.health()",
    "fetch": "ck.fetch(FILE)",
    "fetch to": "ck.fetch(FILE, FILE + '.copy')",
    "push": "ck.push(FILE, FILE + '.pushed')",
    "open_run": "ck.open_run(FILE + '.run')",
    "setup": "ck.setup(packages=['packaging'])",
}
REFUSED = {
    "fetch to a relative place": "ck.fetch(FILE, 'sub/x.txt')",
    "open_run by a relative path": "ck.open_run('./r')",
    "uploaded": "ck.drive.uploaded('x')",
}
SCRIPT = """
import json, os, shutil, sys
import colabkit as ck
FILE, found = sys.argv[2], {}
os.makedirs(sys.argv[3]); os.chdir(sys.argv[3]); shutil.rmtree(sys.argv[3])
for name, code in json.loads(sys.argv[1]).items():
    try:
        eval(code)
        found[name] = "done"
    except ck.errors.ColabKitError as error:
        found[name] = error.what
    except Exception as error:
        found[name] = repr(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What each verb did in one process whose working folder is gone."""
    folder = tmp_path_factory.mktemp("gone")
    file = folder / "x.txt"
    file.write_text("1")
    words = [sys.executable, "-c", SCRIPT, json.dumps(VERBS | REFUSED), str(file), str(folder / "repo")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("verb", VERBS)
def test_what_needs_no_working_folder_works_without_one(outcome, verb):
    """After `!rm -rf repo` within `repo` no verb asks for a folder that it has no use for."""
    assert outcome[verb] == "done"


@pytest.mark.parametrize("verb", REFUSED)
def test_what_needs_it_says_so(outcome, verb):
    """A relative path has no meaning then, and the refusal says which folder is gone."""
    assert outcome[verb].endswith("is a path in the working folder, which is gone")
