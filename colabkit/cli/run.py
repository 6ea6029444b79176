"""Run a notebook or a script that nobody watches; after a crash run it again, so that it resumes from its checkpoint.

The outputs are saved as they come, also of a run that fails. The kernel may restart in place, as ck.install() does, or
end itself after an installation: the run goes on. A command behind ! that fails is told; --strict makes it an error.
What a notebook names of google.colab, /content and Kaggle is given where it is missing. The notebooks of a folder
run one after another, with a table.

Ends with 0, with a script's own code, with 92 when a cell raised an error, with 93 when it crashed too often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._internal.disk.paths import expand
from colabkit.cli import Outcome
from colabkit.errors import AddressError, UnsupportedError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit run train.ipynb -p epochs=10"
MORE_EXAMPLES = ("colabkit run train.py --retries 10 --output train.log",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="the notebook (.ipynb), script (.py), or folder of notebooks")
    parser.add_argument(
        "-p",
        "--parameter",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a parameter: in a cell of the notebook, or as --NAME=VALUE of the script",
    )
    parser.add_argument("--output", metavar="PATH", help="where to save the outputs (default: NAME.out.ipynb or .txt)")
    parser.add_argument(
        "--retries", type=int, metavar="N", default=3, help="run it again so often after a crash (default: %(default)s)"
    )
    parser.add_argument("--kernel", metavar="NAME", help="the kernel (default: the notebook's own)")
    parser.add_argument("--cell-timeout", type=float, metavar="SECONDS", help="how long a cell may take")
    parser.add_argument("--strict", action="store_true", help="end the run when a command behind ! fails")
    parser.add_argument(
        "--release", action="store_true", help="give the machine back to Colab when all came to its end"
    )
    parser.add_argument(
        "--notify", metavar="WHERE", help="send a line when it ends or fails: a webhook's https address, or ntfy:TOPIC"
    )
    parser.add_argument("--quiet", action="store_true", help="do not repeat on stderr what it prints")


def run(args: argparse.Namespace) -> Outcome:
    """Run it, and send word of its end; a process that is killed is seen from here too."""
    if args.notify is None:
        return _run(args)
    from pathlib import Path

    from colabkit.checkpoint.management.notice import Notice, notice_text

    notice, name = Notice(args.notify), Path(args.file).name
    try:
        outcome = _run(args)
    except BaseException as error:
        notice.send("failed", notice_text(name, f"failed: {type(error).__name__}"))
        raise
    kind = "failed" if outcome.code else "ended"
    notice.send(kind, notice_text(name, f"failed with {outcome.code}" if outcome.code else "ran to its end"))
    return outcome


def _run(args: argparse.Namespace) -> Outcome:
    from functools import partial

    from colabkit.headless import parameters, run_file
    from colabkit.headless.folder import run_folder

    runs = partial(
        run_file,
        parameters=parameters.parse(args.parameter),
        retries=max(0, args.retries),
        kernel=args.kernel,
        cell_timeout=args.cell_timeout,
        quiet=args.quiet,
        strict=args.strict,
    )
    if expand(args.file).is_dir():
        if args.output is not None:
            raise AddressError(
                "--output names one file, and a folder has several notebooks", hint="leave it out: each gets its own"
            )
        rows = run_folder(expand(args.file), runs)
        return _released(args, Outcome(rows.to_json(), str(rows), rows.code))
    ran = runs(args.file, output=args.output)
    again = f", begun {ran.attempts} times" if ran.attempts > 1 else ""
    failed = "".join(f"\n{command}" for command in ran.failed)
    return _released(
        args, Outcome(ran.to_json(), f"ran in {ran.seconds:.1f} s{again}; outputs: {ran.output}{failed}", ran.code)
    )


def _released(args: argparse.Namespace, outcome: Outcome) -> Outcome:
    """Give the machine back behind a run that went well; what went wrong may need to be looked at."""
    if not args.release or outcome.code:
        return outcome
    from colabkit.checkpoint.management.finish import other_writer
    from colabkit.config import RUNS_DIR
    from colabkit.runtime import detect
    from colabkit.runtime.release import release

    runtime = detect()
    try:
        writer = other_writer(runtime.work_dir / RUNS_DIR) if runtime.host == "colab" else ""
        outcome_of_release = f"not given back: {writer}" if writer else release()
    except UnsupportedError as error:
        outcome_of_release = f"not given back: {error.what}"
    outcome.value["released"] = outcome_of_release
    outcome.text += f"\n{outcome_of_release}"
    return outcome
