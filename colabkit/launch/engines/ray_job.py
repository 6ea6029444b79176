"""Hand a launch to a cluster that is elsewhere: a job of Ray's, by `colabkit launch --on ray --address http://HEAD:8265`.

The job is the same command beside the cluster's head, with `--address auto`. It needs nothing of this machine once it
is accepted: the same line, typed again while it runs, shows its output from the beginning and follows it.

Source:
    https://docs.ray.io/en/latest/cluster/running-applications/job-submission/sdk.html
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import queue
import shlex
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify
from colabkit._internal.optional import require
from colabkit._internal.process.threads import InterruptibleThread
from colabkit.errors import ClusterError, ColabKitError, WorkerUnreachableError, named
from colabkit.launch.report import Report, from_json

if TYPE_CHECKING:
    from colabkit.launch.engines.ray_plan import RayPlan
    from colabkit.launch.process import Output

PACKAGE = Path(__file__).parents[2]
"""The folder of colabkit, which goes along with the script."""

_POLL = 0.5  # seconds between two looks
_LOST_FOR = 120.0  # seconds that a cluster may be silent while it is followed
_SAVING = 120  # seconds that the workers have to save once they are told to stop
_MARK = "colabkit-launch"
_CHATTY = ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")


def is_remote(address: str | None) -> bool:
    """Say whether an address is that of a cluster's dashboard, which takes jobs.

    Example:
        >>> is_remote("http://127.0.0.1:8265"), is_remote("auto"), is_remote("ray://head:10001")
        (True, False, False)
    """
    return address is not None and address.startswith(("http://", "https://"))


def submit(plan: RayPlan, *, output: Output) -> Report:
    """Submit the launch as a job and follow it; Ctrl-C lets its workers save first.

    Args:
        plan: The launch; its address is that of the dashboard.
        output: Takes each line of the job, and whether it went to stderr.

    Raises:
        MissingDependencyError: Ray is not installed here.
        WorkerUnreachableError: No cluster answers, or no longer.
        ClusterError: Ray refuses, or ended the job; the message has its words.
    """
    sdk = require("ray.job_submission", extra="ray", why="--on ray needs it")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    require("aiohttp", extra="ray", why="following a job of Ray's needs it")
    try:
        client = sdk.JobSubmissionClient(plan.address)
        job = _running(client, plan) or _submitted(client, plan)
    except Exception as error:
        raise _refusal(plan, error) from error
    followed = _Followed(client, job, output)
    interrupts = 0
    while True:
        try:
            if followed.pass_on():
                break
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts > 1:
                raise
            notify("the workers save and end; Ctrl-C again leaves the job to itself")
            client.stop_job(job)
    return _report(followed, client.get_job_info(job), stopped=bool(interrupts))


def _fingerprint(plan: RayPlan) -> str:
    """Tell the launch of this script with these arguments from all others, without telling what they are."""
    launch = [plan.script.read_text(encoding="utf-8", errors="replace"), *map(str, plan.args), str(plan.workers)]
    return hashlib.sha256(json.dumps(launch).encode()).hexdigest()[:32]


def _running(client: Any, plan: RayPlan) -> str | None:
    """Find the job of the same launch, where it has not ended."""
    mark = _fingerprint(plan)
    for job in client.list_jobs():
        if (job.metadata or {}).get(_MARK) == mark and not job.status.is_terminal():
            notify("this launch already runs there as job %s: following it", job.submission_id)
            return str(job.submission_id)
    return None


def _submitted(client: Any, plan: RayPlan) -> str:
    words = ["python", "-m", "colabkit", "launch", "--json", "--on", "ray", "--address", "auto"]
    words += ["--workers", str(plan.workers), "--min-workers", str(plan.min_workers)]
    words += ["--restarts", str(plan.restarts), "--timeout", f"{plan.timeout:g}"]
    words += ["--cpus", f"{plan.cpus:g}", "--gpus", f"{plan.gpus:g}", plan.script.name, *plan.args]
    job = client.submit_job(
        entrypoint=shlex.join(words),
        submission_id=f"colabkit-{plan.script.stem}-{uuid.uuid4().hex[:8]}",
        metadata={_MARK: _fingerprint(plan)},
        runtime_env={
            "working_dir": str(plan.script.parent),
            "py_modules": [str(PACKAGE)],
            # What `stop_job` sends is Ctrl-C, and it waits until the workers have saved; Ray's own way is 3 seconds.
            "env_vars": {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": str(_SAVING)},
        },
    )
    notify("job %s is submitted; the same line follows it again after this one has ended", job)
    return str(job)


class _Followed:
    """The output of a job, from its first line on, read by a thread so that Ctrl-C is heard at once."""

    def __init__(self, client: Any, job: str, output: Output) -> None:
        self.outcome: dict[str, Any] | None = None
        self._client, self._job, self._output = client, job, output
        self._pieces: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._rest = ""
        self._error: Exception | None = None
        self._thread = InterruptibleThread(self._read, name="colabkit-ray-job")
        self._thread.start()

    def pass_on(self) -> bool:
        """Hand the lines over that have come; say whether the job is over and all is told.

        Raises:
            WorkerUnreachableError: The cluster has been silent for too long.
        """
        self._thread.join(_POLL)
        over = not self._thread.is_alive()
        while not self._pieces.empty():
            *lines, self._rest = (self._rest + self._pieces.get()).split("\n")
            for line in lines:
                self._tell(line)
        if over and self._rest:
            self._tell(self._rest)
            self._rest = ""
        if over and self._error is not None:
            raise WorkerUnreachableError(
                "the Ray cluster was lost",
                why=last_line(self._error),
                hint="run the same again: it follows the job, or starts it anew and the run resumes",
            ) from self._error
        return over

    def _tell(self, line: str) -> None:
        last = _object(line)
        if last is not None and (last.keys() >= {"ok", "attempts", "failures"} or "error" in last):
            self.outcome = last
        else:
            self._output(line.rstrip("\r"), False)

    def _read(self) -> None:
        seen, heard = 0, time.monotonic()
        while True:
            try:
                seen, is_complete = asyncio.run(self._tail(seen))
                if is_complete and self._client.get_job_status(self._job).is_terminal():
                    return
                heard = time.monotonic()
            except Exception as error:  # noqa: BLE001 - a link that breaks is tried again, then told by who waits
                if time.monotonic() - heard > _LOST_FOR:
                    self._error = error
                    return
            time.sleep(_POLL)

    async def _tail(self, seen: int) -> tuple[int, bool]:
        """Read on behind so many letters until the link ends; say how many there are now, and whether it ended well."""
        at = 0
        try:
            async for piece in self._client.tail_job_logs(self._job):
                at += len(piece)
                if at > seen:
                    self._pieces.put(piece[len(piece) - (at - seen) :])
                    seen = at
        except RuntimeError:
            if at < seen:  # it broke before it came to what is new
                raise
            return seen, False
        return seen, True


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _report(followed: _Followed, info: Any, *, stopped: bool) -> Report:
    outcome = followed.outcome
    if outcome is not None and "error" in outcome:
        raise _again(outcome["error"])
    if outcome is not None:
        return from_json(outcome)
    if stopped:
        return Report(code=130, workers=0, attempts=1, failures=(), seconds=0.0)
    why = " ".join(str(info.message or info.status).split())[:300]
    raise ClusterError("Ray ended the job", why=why, hint="see the lines above, and the job's log in Ray's dashboard")


def _again(error: dict[str, Any]) -> ColabKitError:
    """Make the error anew that ended the command beside the cluster's head."""
    kind = named(error.get("type")) or ClusterError
    return kind(str(error.get("what")), why=str(error.get("why") or ""), hint=str(error.get("do") or ""))


def _refusal(plan: RayPlan, error: Exception) -> ClusterError:
    if isinstance(error, OSError):  # requests' own are that, too
        return WorkerUnreachableError(
            f"no Ray cluster answers at {plan.address}",
            why=last_line(error),
            hint="check the address: it is the dashboard's, as http://HEAD:8265; on KubeRay: "
            "kubectl port-forward service/NAME-head-svc 8265",
        )
    if "authentication token" in str(error):
        return ClusterError(
            f"the Ray cluster at {plan.address} asks for its token",
            why=last_line(error).partition(". ")[0],
            hint="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or put the token into ~/.ray/auth_token",
        )
    if "exceed" in str(error):
        return ClusterError(
            f"the folder {plan.script.parent} is too large to go along with the script",
            why=last_line(error),
            hint="put the script into a folder of its own, or name what stays here in a .gitignore there",
        )
    return ClusterError(
        f"Ray does not take the job at {plan.address}",
        why=last_line(error),
        hint="see the head's log in the dashboard",
    )


def last_line(error: BaseException) -> str:
    """Return what Ray's error says in the end, behind its tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
