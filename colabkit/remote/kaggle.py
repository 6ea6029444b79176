"""A notebook on a machine of Kaggle, by `kaggle`: each attempt is a version of one notebook of the user's."""

from __future__ import annotations

import json
import os
import re
import time

from colabkit._internal.log import notify, warn
from colabkit.errors import AccessError, CellError, KernelDiedError
from colabkit.remote.base import FOREVER, RemoteRan, Work, call, program, words

_PUSHED = re.compile(r"Kernel version (\d+ )?successfully pushed")
_NOT_ADDED = re.compile(
    r"^The following are not valid (\w+) sources and could not be added to the kernel: (.*)", re.MULTILINE
)
_STATUS = re.compile(r'has status "(?:\w+\.)?(\w+)"')
_OWNER = re.compile(r"^- username: (\S+)$", re.MULTILINE)
_CELL = re.compile(r"^(\w*(?:Error|Exception|Interrupt)): (.*)", re.MULTILINE)
_ENDED = ("complete", "error", "cancel_acknowledged", "cancelled")
_EVERY = float(os.environ.get("COLABKIT_REMOTE_POLL", "10"))
"""Seconds between two questions whether it has ended."""


def run(work: Work) -> RemoteRan:
    """Run a notebook as a version of the user's own on Kaggle, and push it again when its machine dies."""
    kaggle = program("kaggle", "kaggle")
    identity = work.name if "/" in work.name else f"{_owner(kaggle)}/{work.name or f'colabkit-{work.slug}'}"
    for machine in range(1, work.attempts + 1):
        _push(kaggle, identity, work, goes_on=machine > 1)
        status, message = _wait(kaggle, identity, work)
        folder = work.output.with_suffix("") if work.output.suffix == ".ipynb" else work.output
        folder.mkdir(parents=True, exist_ok=True)
        got = call([kaggle, "kernels", "output", identity, "-p", str(folder), "-o"], timeout=FOREVER)
        if not got.ok:
            warn("colabkit: the output could not be fetched: %s", words(got)[-200:])
        if status == "complete":
            return RemoteRan(output=folder, machines=machine, brought=tuple(sorted(folder.iterdir())))
        log = call([kaggle, "kernels", "logs", identity]).out
        if failed := _CELL.findall(log):
            raise CellError(
                f"a cell raised {failed[-1][0]}: {failed[-1][1]}"[:600],
                why=message,
                hint=f"look at https://www.kaggle.com/code/{identity}; what it wrote is in {folder}",
            )
        if status.startswith("cancel"):
            raise KernelDiedError(f"{identity} was cancelled", why=message, hint=f"what it wrote is in {folder}")
        more = "; it runs again on the next one" if machine < work.attempts else ""
        warn("colabkit: the machine of %s ended (%s)%s", identity, message or status, more)
    raise KernelDiedError(
        f"{identity} did not finish on {work.attempts} machines",
        why=message,
        hint=f"the same command continues from the last version's output, by open_run('kaggle:{identity}/runs/NAME')",
    )


def _owner(kaggle: str) -> str:
    output = call([kaggle, "config", "view"]).out
    if match := _OWNER.search(output):
        return match[1]
    raise AccessError(
        "Kaggle's command is not logged in",
        why=output.strip()[-300:],
        hint="run: kaggle auth login, or pass name=OWNER/NAME",
    )


def _push(kaggle: str, identity: str, work: Work, *, goes_on: bool) -> None:
    folder = work.notebook.parent
    title = identity.rpartition("/")[2].replace("-", " ")
    competitions = [source.partition("/")[2] for source in work.inputs if source.startswith("competitions/")]
    metadata = {
        "id": identity,
        "title": title,
        "code_file": work.notebook.name,
        "language": "python",
        "kernel_type": "notebook",
        "is_private": "true",
        "enable_gpu": str(bool(work.accelerator) and "tpu" not in work.accelerator.lower()).lower(),
        "enable_tpu": str("tpu" in work.accelerator.lower()).lower(),
        "enable_internet": "true",
        "dataset_sources": [source for source in work.inputs if not source.startswith("competitions/")],
        "competition_sources": competitions,
        "kernel_sources": [identity] if goes_on else [],
        "model_sources": [],
    }
    (folder / "kernel-metadata.json").write_text(json.dumps(metadata, indent=2), encoding="utf-8")
    command = [kaggle, "kernels", "push", "-p", str(folder)]
    command += ["--accelerator", work.accelerator] if work.accelerator else []
    command += ["-t", f"{work.timeout:.0f}"] if work.timeout else []
    done = call(command)
    if not done.ok or not _PUSHED.search(done.out):  # the command ends with 0 also where it was refused
        hint = "run: kaggle auth login; and look at `kaggle quota`"
        if "quota" in words(done).lower():
            hint = "`kaggle quota` says when it is renewed; until then run it without --accelerator, or --on colab"
        raise AccessError(f"Kaggle does not accept {identity}", why=words(done), hint=hint)
    for kind, names in _NOT_ADDED.findall(done.out):
        warn("colabkit: %s runs without its %s sources %s: Kaggle did not add them", identity, kind, names.strip())
    notify("colabkit: %s runs on Kaggle: https://www.kaggle.com/code/%s", work.notebook.name, identity)


def _wait(kaggle: str, identity: str, work: Work) -> tuple[str, str]:
    """Show the log until the version has ended; return its status and what Kaggle says of it."""
    call([kaggle, "kernels", "logs", identity, "--follow"], work.show, timeout=FOREVER)
    unknown = 0
    while True:
        done = call([kaggle, "kernels", "status", identity])
        match = _STATUS.search(done.out)
        unknown = 0 if match else unknown + 1
        if match and match[1].lower() in _ENDED:
            return match[1].lower(), done.out.partition("Failure message: ")[2].strip().strip('"')
        if unknown > 30:
            raise KernelDiedError(
                f"Kaggle does not report the status of {identity}",
                why=words(done),
                hint=f"run: kaggle kernels status {identity}",
            )
        time.sleep(_EVERY)
