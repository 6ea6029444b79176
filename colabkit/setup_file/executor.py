"""Do what a plan says: side by side what is independent, the restart last, and again from the top without harm."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from colabkit._internal.display.progress import progress
from colabkit._internal.log import notify
from colabkit._internal.phases import Timings
from colabkit._internal.process.threads import start_thread
from colabkit.errors import ColabKitError
from colabkit.packages import lock
from colabkit.packages.installation import make_available, restart_if_needed
from colabkit.runtime.secrets import secret
from colabkit.setup_file.plan import display_source, remember
from colabkit.setup_file.report import Setup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colabkit.packages import InstallReport
    from colabkit.packages.installation import Restart
    from colabkit.setup_file.plan import Plan
    from colabkit.setup_file.spec import Data
    from colabkit.setup_file.step import Step


def act(plan: Plan, restart: Restart) -> Setup:
    """Do the steps of a plan that are to do.

    A step that fails does not keep the others from being done; its error is raised at the end.

    Args:
        plan: What `plan()` found.
        restart: As for `install`.

    Raises:
        ColabKitError: The first step that failed; the others are named in its notes.
    """
    work = _Work(plan)
    if plan.to_do():
        notify("%s", plan)
    with work.beside():
        for step in plan.to_do():
            if step.kind in ("secret", "drive", "packages"):
                work.do(step)
    for step in plan.to_do():
        if step.kind == "data":
            work.do(step)
    work.restart(restart)
    for step in plan.to_do():
        if step.kind in ("lock", "run"):
            work.do(step)
    return work.result()


class _Work:
    """The steps as they get done."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps = {step.key: step for step in plan.steps}
        self._places = dict(plan.places)
        self._sources = {source.name: source for source in plan.spec.data}
        self._report: InstallReport | None = plan.packages and replace(plan.packages, dry_run=False)
        self._errors: dict[tuple[str, str], ColabKitError] = {}
        self._phases = Timings()
        self._stop = threading.Event()
        self._begun = time.perf_counter()

    def do(self, step: Step) -> None:
        """Do one step, once, and keep its error for the end."""
        if self._steps[step.key].state != "to do":
            return
        begun = time.perf_counter()
        try:
            with self._phases(step.title):
                what = getattr(self, f"_{step.kind}")(step)
        except ColabKitError as error:
            self._errors[step.key] = error
            self._steps[step.key] = replace(step, state="failed", what=error.what, do=error.do)
            notify("  %s: %s", step.title, error.what)
        else:
            self._steps[step.key] = replace(step, state="done", what=what, do="")
            notify("  %s: %s (%.1f s)", step.title, what, time.perf_counter() - begun)

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Fetch what is safe to fetch in another thread as long as the block runs, and wait for it."""
        steps = [self._steps["data", source.name] for source in self._plan.beside]

        def fetch_all() -> None:
            for step in steps:
                if not self._stop.is_set():
                    self.do(step)

        # A daemon: after Ctrl-C a download that hangs must not keep the program; what arrived is kept on disk.
        thread = start_thread(fetch_all, name="colabkit-setup") if steps else None
        try:
            yield
            if thread is not None:
                thread.join()
            else:
                fetch_all()
        except BaseException:
            self._stop.set()
            raise

    def restart(self, restart: Restart) -> None:
        """Restart the kernel if a package that is loaded was replaced; the cell then comes here again."""
        if self._report is not None:
            self._report = restart_if_needed(self._report, restart)

    def result(self) -> Setup:
        """Return the summary, or raise the first error with the others in its notes."""
        steps = tuple(self._steps.values())
        done = Setup(
            origin=self._plan.spec.origin,
            steps=steps,
            data=self._places,
            packages=self._report,
            address=self._plan.spec.run,
            seconds={**self._phases.seconds, "all": time.perf_counter() - self._begun},
        )
        errors = [self._errors[step.key] for step in steps if step.key in self._errors]
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"Besides: {other}")
            raise errors[0]
        return done

    # ---- one method a kind of step ----

    def _secret(self, step: Step) -> str:
        value = secret(step.name)
        # It was typed: kept for this session, as other tools look there and nobody likes to type it twice.
        os.environ[step.name] = str(value)
        remember(step.name)
        return "typed, and kept for this session"

    def _drive(self, _step: Step) -> str:
        from colabkit import drive

        return f"mounted at {drive.mount()}"

    def _packages(self, step: Step) -> str:
        spec = self._plan.spec
        locked = [spec.lock] if spec.lock is not None and spec.lock.exists() else []
        self._report = make_available(*spec.packages, *locked)
        return ", ".join(map(str, self._report.changed)) or step.what

    def _data(self, step: Step) -> str:
        source = self._sources[step.name]
        self._places[source.name] = place = self._fetch(source)
        return str(place)

    def _fetch(self, source: Data) -> Path:
        from colabkit.transfer import fetch_details

        with progress(source.name) as bar:

            def watch(done: float, total: float | None) -> None:
                if self._stop.is_set():
                    raise ColabKitError(
                        f"the fetch of {display_source(source.source)} was stopped", hint="run the set-up again"
                    )
                bar.update(done, total)

            return fetch_details(
                source.source,
                source.to,
                keep=source.keep,
                checksum=source.checksum,
                unpack=source.unpack,
                progress=watch,
                below=source.below,
            ).path

    def _lock(self, _step: Step) -> str:
        assert self._plan.spec.lock is not None  # noqa: S101 - the plan made this step of it
        if ("packages", "") in self._errors:
            raise ColabKitError("the lock is not written", why="the packages are not as the set-up wants them")
        return f"wrote {lock(self._plan.spec.lock)}"

    def _run(self, step: Step) -> str:
        from colabkit.checkpoint import open_run

        return str(open_run(step.what).dir)
