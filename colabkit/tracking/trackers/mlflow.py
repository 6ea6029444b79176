"""MLflow: a run in the store that MLFLOW_TRACKING_URI names, else in an SQLite file in the run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from colabkit._http.url import shown
from colabkit._internal.disk.files import write_json
from colabkit._internal.optional import require
from colabkit.tracking.trackers import registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colabkit.tracking.base import Record

_WRITE_EVERY = 2.0  # seconds; one write of its store takes as long as ten steps of a small model
_MOST = 900  # values at once; its limit is 1,000


class MLflowTracker:
    """Keeps one MLflow run for a run of ours, whatever process trains it.

    MLflow takes no value back: what the store has already is passed over, and what it lacks is added.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._name = run.name
        self._note = run / "tracking" / "mlflow.json"
        self._uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run / 'tracking' / 'mlflow.db').absolute()}"
        # It reports its use over the network unless told not to; that is for the user to turn on.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # A server that is gone is given up after seconds, not after the four minutes of its seven tries.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        mlflow = require("mlflow", extra="mlflow", why='tracker="mlflow" writes with it')
        if self._uri.startswith("sqlite"):
            require("sqlalchemy", extra="mlflow", why="the local store of MLflow is in SQLite")
            require("alembic", extra="mlflow", why="the local store of MLflow is in SQLite")
        self._mlflow = mlflow
        self._client: Any = None
        self._id = ""
        self._logged: set[tuple[str, int]] = set()
        self._waiting: list[Record] = []
        self._written = 0.0

    def resume(self, kept: Sequence[Record], *, epoch: int) -> None:  # noqa: ARG002 - the contract of a tracker
        """Open the run of an earlier process again, or begin one; then add what the store lacks."""
        with registry.translated("MLflow"):
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._client = self._mlflow.MlflowClient(tracking_uri=self._uri)
            earlier = self._find()
            if earlier is None:
                self._id = self._client.create_run(self._experiment(), run_name=self._name).info.run_id
            else:
                self._id = earlier.info.run_id
                self._client.update_run(self._id, status="RUNNING")
                for name in earlier.data.metrics:
                    history = self._client.get_metric_history(self._id, name)
                    self._logged.update((name, metric.step) for metric in history)
            # Whoever gets the run's folder gets this file; a name and a password may stand in the store's address.
            write_json(self._note, {"run_id": self._id, "uri": shown(self._uri)})
            self._waiting = list(kept)
            self._write()

    def log(self, record: Record) -> None:
        """Take a record; it is in the store within seconds, and at the end of each epoch."""
        self._waiting.append(record)
        if record.epoch is not None or time.monotonic() - self._written > _WRITE_EVERY:
            with registry.translated("MLflow"):
                self._write()

    def close(self) -> None:
        """Write what waits, and mark the run as finished."""
        if self._client is not None:
            with registry.translated("MLflow"):
                self._write()
                self._client.set_terminated(self._id)
                self._client = None

    def _find(self) -> Any:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, self._mlflow.MlflowException):
            note = json.loads(self._note.read_text(encoding="utf-8"))
            earlier = self._client.get_run(note["run_id"])
            if earlier.info.lifecycle_stage == "active":
                return earlier
        return None

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or registry.PROJECT
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name))

    def _write(self) -> None:
        values = [
            self._mlflow.entities.Metric(name, value, int(record.time * 1000), record.step)
            for record in self._waiting
            for name, value in registry.named(record).items()
            if (name, record.step) not in self._logged
        ]
        for start in range(0, len(values), _MOST):
            self._client.log_batch(self._id, metrics=values[start : start + _MOST])
        self._waiting.clear()
        self._written = time.monotonic()
