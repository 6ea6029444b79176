"""Look at runs: list them, prove their checkpoints, restore one to a file, delete old ones, compare two.

list shows every checkpoint of a run, or of all runs in a folder or a storage: its size, its step, its metrics, and
where its copies are: on this machine, mirrored, and confirmed to have arrived. verify reads every copy from end to end,
and ends with 1 when one is damaged. restore writes the newest state that is proven whole to a file; a damaged one is
passed over. prune deletes what is older than the newest states that are whole, or in a mirror confirmed. compare tells
two runs apart.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._tools.progress import amount
from colabkit.checkpoint import survey
from colabkit.cli import Outcome
from colabkit.config import RUNS_DIR
from colabkit.errors import AddressError

if TYPE_CHECKING:
    import argparse

EXAMPLE = "colabkit runs list drive:runs"
MORE_EXAMPLES = (
    "colabkit runs verify runs/digits",
    "colabkit runs restore runs/digits --to best.safetensors --best",
    "colabkit runs prune runs/digits --keep 2 --dry-run",
)

DAMAGED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the action, the runs, and what is to be done."""
    parser.add_argument(
        "action",
        metavar="action",
        choices=("list", "verify", "restore", "prune", "compare"),
        help="one of: %(choices)s",
    )
    parser.add_argument(
        "where",
        nargs="*",
        help=f"a run: a folder, drive:FOLDER or gs://BUCKET/FOLDER; two for compare; for list and"
        f" verify also what holds runs (default: {RUNS_DIR})",
    )
    parser.add_argument("--mirror", metavar="ADDRESS", help="where copies of a run in a folder are")
    parser.add_argument("--to", metavar="FILE", help="for restore: the file (default: NAME-step-STEP.safetensors here)")
    parser.add_argument("--step", type=int, help="for restore: take the state of this step")
    parser.add_argument("--best", action="store_true", help="for restore: take the best state")
    parser.add_argument(
        "--keep", type=int, default=3, help="for prune: how many good states stay (default: %(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="for prune: only say what would be deleted")


def run(args: argparse.Namespace) -> Outcome:
    """Do it, and say what came of it."""
    wanted = {"compare": 2, "restore": 1, "prune": 1}.get(args.action)
    if wanted is not None and len(args.where) != wanted:
        runs = "two runs" if wanted == 2 else "one run"
        raise AddressError(f"{args.action} needs {runs}, not {len(args.where)}", do=f"write it as: {EXAMPLE}")
    if args.mirror is not None and (len(args.where) != 1):
        raise AddressError("--mirror goes with one run", do="name the run's folder")
    return {"list": _list, "verify": _verify, "restore": _restore, "prune": _prune, "compare": _compare}[args.action](
        args
    )


def _found(args: argparse.Namespace) -> list[survey.Surveyed]:
    if args.mirror is not None:
        return [survey.survey(args.where[0], args.mirror)]
    return [found for where in args.where or [RUNS_DIR] for found in survey.runs(where)]


def _list(args: argparse.Namespace) -> Outcome:
    found = _found(args)
    lines = [line for each in found for line in _lines(each)]
    return Outcome({"runs": [_to_json(each) for each in found]}, "\n".join(lines) or "no runs there")


def _verify(args: argparse.Namespace) -> Outcome:
    found = _found(args)
    checked = [
        {
            "run": each.address,
            "file": str(copy.name),
            "where": copy.address,
            "damaged": survey.prove(each, copy) or None,
        }
        for each in found
        for point in each.points
        for copy in point.copies
    ]
    damaged = [item for item in checked if item["damaged"]]
    unanswered = [
        f"{each.address}: the mirror is not looked at. {each.unanswered}" for each in found if each.unanswered
    ]
    lines = [f"{item['file']} in {item['where']}: {item['damaged'] or 'whole'}" for item in checked]
    value = {"files": checked, "damaged": len(damaged), "unanswered": unanswered}
    return Outcome(value, "\n".join([*lines, *unanswered]) or "no runs there", DAMAGED if damaged or unanswered else 0)


def _restore(args: argparse.Namespace) -> Outcome:
    run = survey.survey(args.where[0], args.mirror)
    step = args.step
    if args.best:
        if step is not None:
            raise AddressError("--best and --step are two wishes", do="leave out one of them")
        if (step := run.best_step) is None:
            raise AddressError(
                f"{run.address} keeps no best state", do='train with run.resume(best="val_loss"), or use --step'
            )
    default = f"{run.place.name}-step-{step if step is not None else 'newest'}.safetensors"
    to = Path(args.to or default)
    point, passed_over = survey.restore(run, to, step=step)
    told = [{"file": str(copy.name), "where": copy.address, "why": why} for copy, why in passed_over]
    lines = [f"passed over {item['file']} in {item['where']}: {item['why']}" for item in told]
    text = [*lines, f"step {point.step} is whole, and is now {to}"]
    return Outcome({"file": str(to), "step": point.step, "passed_over": told}, "\n".join(text))


def _prune(args: argparse.Namespace) -> Outcome:
    if args.keep < 2:
        raise AddressError(f"--keep {args.keep} is too few", why="one broken file would take the run with it")
    run = survey.survey(args.where[0], args.mirror)
    pruning = survey.plan_pruning(run, keep=args.keep)
    size = sum(copy.size for copy in pruning.copies)
    if not args.dry_run:
        survey.prune(run, pruning)
    files = [{"file": str(copy.name), "where": copy.address, "size": copy.size} for copy in pruning.copies]
    verb = "would be deleted" if args.dry_run else "deleted"
    lines = [f"{item['file']} in {item['where']} {verb}" for item in files]
    lines.append(f"{amount(size)} {verb}" if files else "nothing to delete")
    if pruning.kept:
        lines.append(f"more stays than {args.keep} states, since {pruning.kept}")
    value = {"deleted": [] if args.dry_run else files, "planned": files, "bytes": size, "kept": pruning.kept}
    return Outcome(value, "\n".join(lines))


def _compare(args: argparse.Namespace) -> Outcome:
    one, other = (survey.survey(where) for where in args.where)
    left, right = _facts(one), _facts(other)
    rows = {
        key: [left.get(key), right.get(key)]
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key)
    }
    same = sum(1 for key in left if key in right and left[key] == right[key])
    lines = [f"{key}: {_spoken(before)} -> {_spoken(after)}" for key, (before, after) in rows.items()]
    lines.append(f"{same} more are the same" if rows else "their newest states tell no difference")
    return Outcome({"runs": [one.address, other.address], "differences": rows, "same": same}, "\n".join(lines))


def _facts(run: survey.Surveyed) -> dict[str, Any]:
    """What can be compared of a run's newest state, by its place."""
    point = run.points[0]
    meta = point.meta
    found: dict[str, Any] = {"step": point.step, "size": max(copy.size for copy in point.copies)}
    found |= {name: meta[name] for name in ("kind", "epoch", "epochs", "complete", "seconds") if name in meta}
    for part in ("metrics", "best", "settings", "versions", "code", "layout", "data"):
        if isinstance(meta.get(part), dict):
            found |= {f"{part}.{name}": value for name, value in meta[part].items()}
    return found


def _spoken(value: Any) -> str:
    return "(none)" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _lines(run: survey.Surveyed) -> list[str]:
    lines = [run.address]
    for point in run.points:
        metrics = point.meta.get("metrics")
        told = [f"{name} {_spoken(value)}" for name, value in metrics.items()] if isinstance(metrics, dict) else []
        notes = ["best"] if point.step == run.best_step else []
        notes += [f"cannot be read: {point.why}"] if not point.meta else []
        size = amount(max(copy.size for copy in point.copies))
        where = ", ".join(_places(point))
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(copy.saved_at for copy in point.copies)))
        lines.append("  " + "  ".join([f"step {point.step:>8}", f"{size:>9}", when, where, *told, *notes]))
    if run.unanswered:
        lines.append(f"  the mirror is not looked at. {run.unanswered}")
    return lines


def _places(point: survey.Point) -> list[str]:
    found = ["local"] if any(copy.here for copy in point.copies) else []
    away = [copy for copy in point.copies if not copy.here]
    if away:
        found.append("mirrored")
        answers = {copy.confirmed for copy in away}
        found.append("confirmed" if "yes" in answers else "not confirmed" if "no" in answers else "cannot tell")
    return found


def _to_json(run: survey.Surveyed) -> dict[str, Any]:
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
