"""Doubles of the commands `colab` (google-colab-cli) and `kaggle`, as their sources of July 2026 behave.

`install(folder, state)` writes both into a folder for PATH; each call is noted in `state/calls.txt`. A machine is a
folder below the state; the notebook's cells run in a process of their own there. A cell that kills its process is a
machine that dies.
"""

# ruff: noqa: T201 - these are programs, which print

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

_CELLS = """
import contextlib, io, json, sys, traceback
notebook = json.load(open(sys.argv[1]))
names = {"__name__": "__main__"}
for cell in notebook["cells"]:
    if cell["cell_type"] != "code":
        continue
    cell["outputs"], text = [], io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            exec("".join(cell["source"]).replace("/content", sys.argv[3]), names)
        except Exception as error:
            told = {"ename": type(error).__name__, "evalue": str(error), "traceback": []}
            cell["outputs"] = [{"output_type": "error", **told}]
            text.write(f"{type(error).__name__}: {error}\\n")
    if text.getvalue():
        cell["outputs"].insert(0, {"output_type": "stream", "name": "stdout", "text": text.getvalue()})
    sys.stdout.write(text.getvalue())
    sys.stdout.flush()
    json.dump(notebook, open(sys.argv[2], "w"))
"""


def install(folder, state):
    """Write both commands into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    state.mkdir(parents=True, exist_ok=True)
    for name in ("colab", "kaggle"):
        script = folder / name
        lines = (f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(Path(__file__).parent)!r})")
        more = ("import remote_commands", f"sys.exit(remote_commands.{name}({str(state)!r}, sys.argv[1:]))")
        script.write_text("\n".join([*lines, *more, ""]))
        script.chmod(0o755)


def run_cells(notebook, output, machine):
    """Run a notebook's cells in a machine; return whether it lived to the end, and what was printed."""
    command = [sys.executable, "-c", _CELLS, str(notebook), str(output), str(machine)]
    done = subprocess.run(command, cwd=machine, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout


def colab(state, words):
    """Act as Colab's command: a failing cell is no failure of the command, a lost machine is."""
    state = Path(state)
    _note(state, "colab", words)
    verb, options, rest = words[0], *_options(words[1:], ("-s", "-f", "--timeout", "--gpu", "--tpu"))
    machine = state / "machines" / options.get("-s", "-")
    if verb == "new":
        if (state / "refuse").exists():
            print("[colab] Error: 412 Precondition Failed: too many sessions", file=sys.stderr)
            return 1
        machine.mkdir(parents=True)
        print(f"[colab] Creating session '{machine.name}'...\n[colab] Session READY.")
        return 0
    if verb == "sessions":
        names = [one.name for one in (state / "machines").iterdir()] if (state / "machines").exists() else []
        print("\n".join(f"[{name}] gpu | T4" for name in names) or "[colab] No active sessions found on server.")
        return 0
    if not machine.is_dir():
        print(f"[colab] Session '{machine.name}' not found.")
        return 1
    if verb == "stop":
        shutil.rmtree(machine)
        print("[colab] Session terminated.")
    elif verb == "exec":
        return _execute(Path(options["-f"]), machine)
    elif verb == "upload":
        shutil.copy(rest[0], machine / rest[1].removeprefix("content/"))
    elif verb in ("download", "rm"):
        source = machine / rest[0].removeprefix("content/")
        if not source.is_file():
            print(f"[colab] {verb.title()} failed: 404 Client Error")
            return 1
        if verb == "download":
            shutil.copy(source, rest[1])
        else:
            source.unlink()
    return 0


def _execute(file, machine):
    if file.suffix != ".ipynb":
        code = file.read_text().replace("/content", str(machine))
        return subprocess.run([sys.executable, "-c", code], cwd=machine, check=False).returncode
    print(f"[colab] Parsing notebook '{file}'...", flush=True)
    lived, said = run_cells(file, file.with_name(f"{file.stem}_output.ipynb"), machine)
    print(said, end="")
    if not lived:
        shutil.rmtree(machine)
        print(f"[colab] Session '{machine.name}' appears to be lost (404/401). Cleaning up.")
    return 0 if lived else 1


def kaggle(state, words):
    """Act as Kaggle's command; `push` runs the version at once, and ends with 0 also where it is refused."""
    state = Path(state)
    _note(state, "kaggle", words)
    if words[:2] == ["config", "view"]:
        print("Configuration values from /home/me/.kaggle\n- username: me\n- auth_method: OAUTH")
        return 0
    verb, options, rest = words[1], *_options(words[2:], ("-p", "-t", "--accelerator"))
    if verb == "push":
        return _push(state, Path(options["-p"]))
    kernel = state / "kernels" / rest[0]
    if verb == "status":
        print((kernel / "status").read_text())
    elif verb == "logs":
        print((kernel / "log").read_text(), end="")
    elif verb == "output":
        shutil.copytree(kernel / "working", options["-p"], dirs_exist_ok=True)
    return 0


def _push(state, folder):
    metadata = json.loads((folder / "kernel-metadata.json").read_text())
    if (state / "refuse").exists():
        print("Kernel push error: Maximum weekly GPU quota of 30.00 hours reached.")
        return 0
    kernel = state / "kernels" / metadata["id"]
    working = kernel / "working"
    working.mkdir(parents=True, exist_ok=True)
    version = len(list(kernel.glob("v*.json"))) + 1
    (kernel / f"v{version}.json").write_text(json.dumps(metadata))
    lived, said = run_cells(folder / metadata["code_file"], working / "__notebook__.ipynb", working)
    failed = re.search(r"^\w+Error: ", said, re.MULTILINE)
    word = "COMPLETE" if lived and not failed else "ERROR"
    more = "" if lived else '\nFailure message: "Your notebook tried to allocate more memory than is available."'
    (kernel / "status").write_text(f'{metadata["id"]} has status "KernelWorkerStatus.{word}"{more}')
    (kernel / "log").write_text(said)
    if absent := [one for one in metadata["dataset_sources"] if (state / "absent").exists()]:
        print(f"The following are not valid dataset sources and could not be added to the kernel: {absent}")
    print(f"Kernel version {version} successfully pushed.  Please check progress at https://www.kaggle.com/code/x")
    return 0


def _options(words, known):
    options, rest, queue = {}, [], list(words)
    while queue:
        word = queue.pop(0)
        if word in known:
            options[word] = queue.pop(0)
        elif not word.startswith("-"):
            rest.append(word)
    return options, rest


def _note(state, name, words):
    with (state / "calls.txt").open("a") as file:
        file.write(f"{name} {' '.join(words)}\n")
