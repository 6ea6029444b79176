"""What the host takes away: the session's end, folders that do not last, secrets out of reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._internal.disk import working_dir
from colabkit.diagnosis.base import Finding
from colabkit.runtime import frontend
from colabkit.runtime.frontend import rpc as frontend_rpc
from colabkit.runtime.hosts import colab, kaggle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colabkit.diagnosis.base import Scene

_SOON = 3600.0
"""Seconds before the end of a session from which on it is told."""


def check(scene: Scene) -> Iterator[Finding]:
    """Look at the session and its host."""
    yield from _working_dir(scene)
    yield from _ending(scene)
    yield from _quota(scene)
    yield from _nothing_persists(scene)
    yield from _secrets(scene)
    yield from _subprocess(scene)
    yield from _colab_command(scene)


def _working_dir(scene: Scene) -> Iterator[Finding]:
    if working_dir.is_gone():
        home = "/content" if scene.runtime.host == "colab" else "~"
        yield Finding(
            severity="problem",
            what="the working folder of this process is gone",
            why=f"{scene.place.cwd} was deleted or unmounted; relative paths fail, and many commands after ! fail too",
            do=f"change to a folder that exists: %cd {home}",
        )


def _ending(scene: Scene) -> Iterator[Finding]:
    runtime = scene.runtime
    if runtime.session_age is None or runtime.max_session_hours is None:
        return
    left = runtime.max_session_hours * 3600 - runtime.session_age
    if left < _SOON:
        yield Finding(
            severity="warning",
            what=f"this session has run for {runtime.session_age / 3600:.1f} hours",
            why=f"{runtime.name} ends sessions after {runtime.max_session_hours:g} hours, as far as is known",
            do="let a run save to a place that lasts; what is only on this machine will be gone",
        )


def _quota(scene: Scene) -> Iterator[Finding]:
    """Ask the host's own command, on its machine alone and where it is signed in; it may take some seconds."""
    runtime = scene.runtime
    if runtime.host not in ("colab", "kaggle"):
        return
    for quota in runtime.quotas:
        if quota.hours_left is not None and quota.hours_left * 3600 < _SOON:
            yield Finding(
                severity="warning",
                what=f"little is left of this account's {quota.what}: {quota.hours_left:.1f} hours",
                why=f"{quota}; {runtime.name} ends what runs when they are used up",
                do="let a run save to a place that lasts, and go on when they are renewed or on another machine",
            )


def _nothing_persists(scene: Scene) -> Iterator[Finding]:
    runtime = scene.runtime
    if runtime.ephemeral and runtime.persistent_dir is None:
        drive = "mount Google Drive, or " if runtime.host == "colab" else ""
        yield Finding(
            severity="note",
            what="nothing on this machine lasts beyond the session",
            why=f"{runtime.name} gives a machine that forgets everything",
            do=f"{drive}copy what must last to a place outside",
        )


def _secrets(scene: Scene) -> Iterator[Finding]:
    env, shell = scene.place.env, scene.place.shell
    if env.get(kaggle.MARK):
        if not env.get("KAGGLE_USER_SECRETS_TOKEN"):
            yield Finding(
                severity="warning",
                what="Kaggle's secrets are out of reach",
                why="this session has no token for them (KAGGLE_USER_SECRETS_TOKEN)",
                do="start the session anew, or set the environment variable of the secret",
            )
    elif frontend_rpc.is_kernel(shell):
        # Not asked here: it would take 2 seconds where there is no browser.
        if frontend_rpc.is_known_without_browser():
            yield Finding(
                severity="warning",
                what="Colab's secrets are out of reach",
                why="no browser shows this notebook; VS Code, the colab command and headless runs do not answer",
                do="open the notebook in a browser, or set the environment variable of the secret",
            )
    elif scene.runtime.host == "colab" and shell is None:
        yield Finding(
            severity="note",
            what="Colab's secrets are out of reach from a command",
            why="only the notebook's own kernel can ask for them",
            do="call colabkit.secret() in a cell, and hand the value on by an environment variable",
        )


def _subprocess(scene: Scene) -> Iterator[Finding]:
    env = scene.place.env
    if scene.place.shell is None and (env.get("JPY_PARENT_PID") or env.get(colab.TAG)):
        yield Finding(
            severity="note",
            what="a command does not see what the notebook has loaded",
            why="this is a process beside the notebook's kernel",
            do="call colabkit.doctor() in a cell to look at packages that were replaced under the kernel",
        )


def _colab_command(scene: Scene) -> Iterator[Finding]:
    # That command allows no prompt, so what else runs notebooks without anybody looks the same here.
    kernel = getattr(scene.place.shell, "kernel", None)
    if frontend_rpc.is_kernel(scene.place.shell) and kernel is not None and not frontend.allows_stdin(kernel):
        yield Finding(
            severity="note",
            what="the colab command gives a silent cell 30 seconds",
            why="`colab exec` and `colab run` then end with TimeoutError; the cell goes on here, and nobody sees it",
            do="give it longer: colab exec --timeout 21600 …; colabkit remote run does so",
        )
