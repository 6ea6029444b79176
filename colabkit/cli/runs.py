"""Look at runs: list them, prove their checkpoints, restore one to a file, delete old ones, compare two, hand one over.

list shows every checkpoint of a run, or of all runs in a folder or a storage: its size, its step, its metrics, and
where its copies are: on this machine, mirrored, and confirmed to have arrived. verify reads every copy from end to end,
and ends with 1 when one is damaged. restore writes the newest state that is proven whole to a file; a damaged one is
passed over. prune deletes what is older than the newest states that are whole, or in a mirror confirmed. compare tells
two runs apart. pack writes a run into one file: its newest and its best state, proven whole, its models, logs and
plots, and a card in Markdown; unpack takes it out elsewhere, where it goes on, and proves each file by its hash.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.display.progress import amount
from colabkit.checkpoint.management import inspect
from colabkit.cli import Action, Outcome, add_actions
from colabkit.config import RUNS_DIR
from colabkit.errors import AddressError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit runs list drive:runs"
MORE_EXAMPLES = (
    "colabkit runs verify runs/digits",
    "colabkit runs restore runs/digits --to best.safetensors --best",
    "colabkit runs prune runs/digits --keep 2 --dry-run",
    "colabkit runs compare runs/digits runs/digits-2",
    "colabkit runs pack runs/digits --to drive:handed-over",
    "colabkit runs unpack digits.run.zip --to runs/digits",
)

DAMAGED = 1


_RUN = "a run: a folder, drive:FOLDER or gs://BUCKET/FOLDER"


def _many(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs="*", help=f"{_RUN}, or a folder that holds runs (default: {RUNS_DIR})")
    _mirror(parser)


def _mirror(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mirror", metavar="ADDRESS", help="where copies of a run in a folder are")


def _restored(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs=1, metavar="run", help=_RUN)
    _mirror(parser)
    parser.add_argument("--to", metavar="FILE", help="the file (default: NAME-step-STEP.safetensors here)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--step", type=int, help="take the state of this step")
    which.add_argument("--best", action="store_true", help="take the best state")


def _pruned(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs=1, metavar="run", help=_RUN)
    _mirror(parser)
    parser.add_argument("--keep", type=int, default=3, help="how many good states stay (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")


def _compared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs=2, metavar="run", help=_RUN)


def _packed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs=1, metavar="run", help=_RUN)
    parser.add_argument(
        "--to", metavar="WHERE", help="the file, or where to push it, as drive:FOLDER (default: NAME.run.zip here)"
    )


def _unpacked(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("where", nargs=1, metavar="file", help="what runs pack wrote")
    parser.add_argument("--to", metavar="FOLDER", help=f"the run's folder (default: {RUNS_DIR}/NAME)")


ACTIONS = {
    "list": Action("list every checkpoint of a run, or of all runs in a folder or a storage", [EXAMPLE], _many),
    "verify": Action("read every copy from end to end, and end with 1 when one is damaged", MORE_EXAMPLES[:1], _many),
    "restore": Action("write the newest state that is whole to a file", MORE_EXAMPLES[1:2], _restored),
    "prune": Action("delete what is older than the newest whole states", MORE_EXAMPLES[2:3], _pruned),
    "compare": Action("tell two runs apart", MORE_EXAMPLES[3:4], _compared),
    "pack": Action("write a run into one file to hand over", MORE_EXAMPLES[4:5], _packed),
    "unpack": Action("take a run out of such a file, and prove it", MORE_EXAMPLES[5:], _unpacked),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the action, and what it acts on."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> Outcome:
    """Do it, and say what came of it."""
    if getattr(args, "mirror", None) is not None and len(args.where) != 1:
        raise AddressError("--mirror works with one run only", hint="name the run's folder")
    act = {
        "list": _list,
        "verify": _verify,
        "restore": _restore,
        "prune": _prune,
        "compare": _compare,
        "pack": _pack,
        "unpack": _unpack,
    }
    return act[args.action](args)


def _surveyed(args: argparse.Namespace) -> list[inspect.RunInfo]:
    if args.mirror is not None:
        return [inspect.survey(args.where[0], args.mirror)]
    return [info for where in args.where or [RUNS_DIR] for info in inspect.runs(where)]


def _list(args: argparse.Namespace) -> Outcome:
    runs = _surveyed(args)
    lines = [line for each in runs for line in _lines(each)]
    return Outcome({"runs": [_to_json(each) for each in runs]}, "\n".join(lines) or "no runs there")


def _verify(args: argparse.Namespace) -> Outcome:
    runs = _surveyed(args)
    checked = [
        {
            "run": each.address,
            "file": str(copy.name),
            "where": copy.address,
            "damaged": inspect.verify(each, copy) or None,
        }
        for each in runs
        for point in each.points
        for copy in point.copies
    ]
    damaged = [item for item in checked if item["damaged"]]
    unanswered = [f"{each.address}: the mirror was not checked. {each.unanswered}" for each in runs if each.unanswered]
    lines = [f"{item['file']} in {item['where']}: {item['damaged'] or 'whole'}" for item in checked]
    value = {"files": checked, "damaged": len(damaged), "unanswered": unanswered}
    return Outcome(value, "\n".join([*lines, *unanswered]) or "no runs there", DAMAGED if damaged or unanswered else 0)


def _restore(args: argparse.Namespace) -> Outcome:
    run = inspect.survey(args.where[0], args.mirror)
    step = args.step
    if args.best and (step := run.best_step) is None:
        raise AddressError(
            f"{run.address} keeps no best state", hint='train with run.resume(best="val_loss"), or use --step'
        )
    default = f"{run.place.name}-step-{step if step is not None else 'newest'}.safetensors"
    to = Path(args.to or default)
    point, passed_over = inspect.restore(run, to, step=step)
    skipped = [{"file": str(copy.name), "where": copy.address, "why": why} for copy, why in passed_over]
    lines = [f"passed over {item['file']} in {item['where']}: {item['why']}" for item in skipped]
    text = [*lines, f"step {point.step} is whole, and is now {to}"]
    return Outcome({"file": str(to), "step": point.step, "passed_over": skipped}, "\n".join(text))


def _prune(args: argparse.Namespace) -> Outcome:
    if args.keep < 2:
        raise AddressError(
            f"--keep {args.keep} is too few",
            why="one broken file would take the run with it",
            hint="pass --keep 2 or more",
        )
    run = inspect.survey(args.where[0], args.mirror)
    pruning = inspect.plan_pruning(run, keep=args.keep)
    size = sum(copy.size for copy in pruning.copies)
    if not args.dry_run:
        inspect.prune(run, pruning)
    files = [{"file": str(copy.name), "where": copy.address, "size": copy.size} for copy in pruning.copies]
    verb = "would be deleted" if args.dry_run else "deleted"
    lines = [f"{item['file']} in {item['where']} {verb}" for item in files]
    lines.append(f"{amount(size)} {verb}" if files else "nothing to delete")
    if pruning.kept:
        lines.append(f"more stays than {args.keep} states, since {pruning.kept}")
    value = {"deleted": [] if args.dry_run else files, "planned": files, "bytes": size, "kept": pruning.kept}
    return Outcome(value, "\n".join(lines))


def _compare(args: argparse.Namespace) -> Outcome:
    first, second = (inspect.survey(where) for where in args.where)
    left, right = _facts(first), _facts(second)
    rows = {
        key: [left.get(key), right.get(key)]
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    }
    same = sum(1 for key in left if key in right and left[key] == right[key])
    lines = [f"{key}: {_spoken(before)} -> {_spoken(after)}" for key, (before, after) in rows.items()]
    lines.append(f"{same} more are the same" if rows else "their newest states tell no difference")
    return Outcome({"runs": [first.address, second.address], "differences": rows, "same": same}, "\n".join(lines))


def _pack(args: argparse.Namespace) -> Outcome:
    from colabkit.checkpoint.management import pack
    from colabkit.storage import scheme

    if args.to is None or not scheme(args.to):
        done = pack.pack(args.where[0], args.to)
        at = str(done.path)
    else:
        import tempfile

        from colabkit.transfer import push

        with tempfile.TemporaryDirectory(prefix="colabkit-pack-") as folder:
            done = pack.pack(args.where[0], folder)
            at = push(done.path, f"{args.to.rstrip('/')}/")
    value = {"file": at, "run": done.name, "step": done.step, "files": done.files, "bytes": done.size}
    return Outcome(value, f"{done.name} at step {done.step}: {done.files} files, {amount(done.size)}, in {at}")


def _unpack(args: argparse.Namespace) -> Outcome:
    from colabkit.checkpoint.management import pack

    done = pack.unpack(args.where[0], args.to)
    value = {"folder": str(done.path), "run": done.name, "step": done.step, "files": done.files, "bytes": done.size}
    text = f"{done.name} at step {done.step} is whole, and is now in {done.path}; open_run({str(done.path)!r}) goes on"
    return Outcome(value, text)


def _facts(run: inspect.RunInfo) -> dict[str, Any]:
    """What can be compared of a run's newest state, by its place."""
    point = run.points[0]
    meta = point.meta
    facts: dict[str, Any] = {"step": point.step, "size": max(copy.size for copy in point.copies)}
    facts |= {name: meta[name] for name in ("kind", "epoch", "epochs", "complete", "seconds") if name in meta}
    for part in ("metrics", "best", "settings", "versions", "code", "layout", "data"):
        if isinstance(meta.get(part), dict):
            facts |= {f"{part}.{name}": value for name, value in meta[part].items()}
    return facts


def _spoken(value: Any) -> str:
    return "(none)" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _lines(run: inspect.RunInfo) -> list[str]:
    lines = [run.address]
    for point in run.points:
        metrics = point.meta.get("metrics")
        measured = [f"{name} {_spoken(value)}" for name, value in metrics.items()] if isinstance(metrics, dict) else []
        notes = ["best"] if point.step == run.best_step else []
        notes += [f"cannot be read: {point.why}"] if not point.meta else []
        size = amount(max(copy.size for copy in point.copies))
        where = ", ".join(_places(point))
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(copy.saved_at for copy in point.copies)))
        lines.append("  " + "  ".join([f"step {point.step:>8}", f"{size:>9}", when, where, *measured, *notes]))
    if run.unanswered:
        lines.append(f"  the mirror was not checked. {run.unanswered}")
    return lines


def _places(point: inspect.CheckpointInfo) -> list[str]:
    places = ["local"] if any(copy.here for copy in point.copies) else []
    away = [copy for copy in point.copies if not copy.here]
    if away:
        places.append("mirrored")
        answers = {copy.confirmed for copy in away}
        places.append("confirmed" if "yes" in answers else "not confirmed" if "no" in answers else "cannot tell")
    return places


def _to_json(run: inspect.RunInfo) -> dict[str, Any]:
    return {
        "address": run.address,
        "folder": str(run.place.folder),
        "mirror": run.place.storage.address if run.place.storage is not None else None,
        "unanswered": run.unanswered or None,
        "best_step": run.best_step,
        "checkpoints": [
            {
                "step": point.step,
                "state": point.state,
                "epoch": point.meta.get("epoch"),
                "metrics": point.meta.get("metrics"),
                "unreadable": point.why if not point.meta else None,
                "local": any(copy.here for copy in point.copies),
                "mirrored": any(not copy.here for copy in point.copies),
                "confirmed": any(copy.confirmed == "yes" for copy in point.copies),
                "copies": [
                    {
                        "file": str(copy.name),
                        "where": copy.address,
                        "size": copy.size,
                        "saved_at": copy.saved_at,
                        "confirmed": copy.confirmed,
                    }
                    for copy in point.copies
                ],
            }
            for point in run.points
        ],
    }
