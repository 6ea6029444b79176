"""Weights & Biases, offline: a run in the run's folder that `wandb sync` sends when there is a network."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.disk.files import write_json
from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit.tracking.base import Record


class WandbTracker:
    """Keeps one W&B run for a run of ours, whatever process trains it.

    Offline runs are not resumed by W&B: of two with one id the later that is synced replaces the earlier (wandb#3841).
    So each process writes a whole one, under the same id and with all that still holds, and the one before goes.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._name = run.name
        self._folder = run / "tracking"
        # Offline it still reports its own use to its maker, unless told not to before its import.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        self._wandb = require("wandb", extra="wandb", why='tracker="wandb" writes with it')
        self._run: Any = None

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:  # noqa: ARG002 - the contract of a tracker
        """Begin with all that still holds."""
        with registry.translated("wandb"):
            number = self._id()
            before = list(self._folder.glob(f"wandb/offline-run-*-{number}"))
            settings = self._wandb.Settings(
                mode="offline",
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_meta=True,  # it would keep the command line, which may hold a token
                x_disable_stats=True,
                x_save_requirements=False,
            )
            self._run = self._wandb.init(
                project=os.environ.get("WANDB_PROJECT") or registry.PROJECT,
                id=number,
                name=self._name,
                dir=str(self._folder),
                settings=settings,
                reinit="create_new",  # a run that the user has open in this process stays open
            )
            for record in kept:
                self._log(record)
            for folder in before:
                if folder != Path(self._run.dir).parent:  # named by the second
                    shutil.rmtree(folder)

    def log(self, record: Record) -> None:
        """Hand a record to W&B's own process, which outlives a kill of this one."""
        with registry.translated("wandb"):
            self._log(record)

    def close(self) -> None:
        """Finish, and say how to send it."""
        if self._run is not None:
            with registry.translated("wandb"):
                folder = Path(self._run.dir).parent
                self._run.finish()
                notify("wandb: to send this run, wandb sync %s", folder)
            self._run = None

    def _log(self, record: Record) -> None:
        self._run.log(registry.named(record), step=record.step)

    def _id(self) -> str:
        note = self._folder / "wandb.json"
        try:
            run_id = str(json.loads(note.read_text(encoding="utf-8"))["id"])
            if run_id.isalnum():
                return run_id
        except (OSError, ValueError, TypeError, KeyError):
            pass
        number = secrets.token_hex(4)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(note, {"id": number})
        return number
