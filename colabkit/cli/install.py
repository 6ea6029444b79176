"""Install packages into this Python, planned first.

What is installed already is answered at once; a change is planned by uv (pip where there is none), shown, and refused
in words if it cannot be or would break the notebook's kernel. A command is a child process: it cannot restart the
notebook's kernel, which goes on with what it has loaded. In a notebook, colabkit.install() does both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.cli import Outcome

if TYPE_CHECKING:
    import argparse

    from colabkit.packages import InstallReport
    from colabkit.packages.installation import Restart

EXAMPLE = 'colabkit install "keras>=3.10" polars'
MORE_EXAMPLES = ("colabkit install requirements.lock --dry-run",)

NO_RESTART = (
    "this command cannot restart a notebook's kernel: if one runs, call colabkit.install() with the same requirements"
    " in a cell, or restart it from the menu"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("requirements", nargs="+", metavar="REQUIREMENT", help="a package, or one requirements file")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and touch nothing")
    parser.add_argument("-U", "--upgrade", action="store_true", help="take the newest versions of what is named")
    parser.add_argument("--pre", action="store_true", help="allow pre-releases")
    parser.add_argument("--no-deps", action="store_true", help="install only what is named")
    parser.add_argument("--reinstall", action="store_true", help="install again what is there")
    parser.add_argument("--source", action="store_true", help="compile what has no wheel for this Python")
    parser.add_argument(
        "--no-constrain", action="store_true", help="let the image's heavy packages (numpy, torch, …) change"
    )
    parser.add_argument("--force", action="store_true", help="change even what a running kernel stands on")
    parser.add_argument("--index-url", metavar="URL", help="the package index instead of the installer's own")
    parser.add_argument("--extra-index-url", metavar="URL", action="append", default=[], help="an index beside it")
    parser.add_argument("--find-links", metavar="PLACE", action="append", default=[], help="a folder of wheels")


def run(args: argparse.Namespace) -> Outcome:
    """Install, and say that a kernel was not restarted."""
    report = _install(args, "never")
    touched = bool(report.changed) and not report.dry_run
    text = f"{report}\n{NO_RESTART}" if touched else str(report)
    return Outcome({**report.as_dict(), "kernel_restarted": False}, text)


def run_in_kernel(args: argparse.Namespace) -> Outcome:
    """Install, and restart the kernel in place if it must."""
    report = _install(args, "auto")
    return Outcome(report.as_dict(), str(report))


def _install(args: argparse.Namespace, restart: Restart) -> InstallReport:
    from colabkit.packages import install

    return install(
        *args.requirements,
        constrain=not args.no_constrain,
        restart=restart,
        dry_run=args.dry_run,
        upgrade=args.upgrade,
        pre=args.pre,
        no_deps=args.no_deps,
        reinstall=args.reinstall,
        source=args.source,
        force=args.force,
        index_url=args.index_url,
        extra_index_urls=args.extra_index_url,
        find_links=args.find_links,
    )
