"""Google Colab: a machine that Google lends, with the browser, VS Code or the `colab` command in front of it."""

from __future__ import annotations

import re

from colabkit import config
from colabkit.runtime import frontend, mounts
from colabkit.runtime.base import Host, Probe
from colabkit.runtime.frontend import rpc as frontend_rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

TAG = "COLAB_RELEASE_TAG"
HOSTNAME = "/var/colab/hostname"
"""The file that google.colab's own drive.mount asks for; a Colab image on one's own machine has none."""

DRIVE = "/content/drive"
"""Where Drive is mounted unless the user names another folder."""


def recognise(place: Probe) -> Host | None:
    """Recognise a Colab machine, in its kernel as well as in a `!python` subprocess."""
    # Enterprise first: it carries Colab's marks, but Drive and auth refuse there.
    return _enterprise(place) or _colab(place)


def _enterprise(place: Probe) -> Host | None:
    """Recognise a Colab Enterprise runtime."""
    if place.env.get("VERTEX_PRODUCT") != "COLAB_ENTERPRISE":
        return None
    return Host(
        host="colab_enterprise",
        name="Colab Enterprise",
        evidence=tuple(filter(None, (place.shows("VERTEX_PRODUCT"), place.shows(TAG)))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/content") or place.cwd,
        image=place.env.get(TAG),
        image_date=image_date(place.env.get(TAG, "")),
        # The defaults of a runtime template: https://cloud.google.com/colab/docs/idle-shutdown and .../docs/runtimes
        max_session_hours=18,
        idle_minutes=180,
        notes=("Google Drive cannot be mounted here; keep what must last in Cloud Storage (gs://)",),
    )


def _colab(place: Probe) -> Host | None:
    if not (place.env.get(TAG) and place.has(HOSTNAME)):
        return None
    shell = f"the shell is {frontend_rpc.SHELL}" if frontend_rpc.is_kernel(place.shell) else ""
    return Host(
        host="colab",
        name="Google Colab",
        evidence=tuple(filter(None, (place.shows(TAG), place.exists(HOSTNAME), shell, _machine(place)))),
        _frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/content") or place.cwd,
        persistent_dir=_drive(place),
        image=place.env[TAG],
        image_date=image_date(place.env[TAG]),
        # "At most 12 hours" free of charge, 24 with compute units: https://research.google.com/colaboratory/faq.html
        max_session_hours=12,
        idle_minutes=90,
        notes=("12 hours is the free limit, 24 with compute units; the idle time is as users measure it",),
    )


def secret(name: str) -> str:
    """Return one of the user's Colab secrets; called in Colab's kernel only.

    Raises:
        SecretNotFoundError: There is none of that name.
        SecretAccessError: There is one, and this notebook was not given access to it.
        SecretTimeoutError: The browser did not answer.
        NoBrowserError: There is no browser.
        SecretError: This thread must not ask.
    """
    from colabkit.errors import (
        NoBrowserError,
        SecretAccessError,
        SecretError,
        SecretNotFoundError,
        SecretTimeoutError,
    )

    if not frontend_rpc.may_ask():
        raise SecretError(
            "Colab's secrets cannot be read in this thread",
            why="requests from two threads lose each other's answers",
            hint="call secret() in a cell, and hand the value to the thread",
        )
    if frontend.is_vscode(frontend.running_shell(), config.environment()) or not frontend_rpc.has_browser():
        raise NoBrowserError(
            "no browser shows this notebook, and Colab's secrets need one",
            why="VS Code, the colab command, headless runs and a page that is disconnected do not answer",
            hint="open the notebook in a browser, or set the environment variable of that name",
        )
    from google.colab import errors, userdata

    try:
        value: str = userdata.get(name)
    except userdata.SecretNotFoundError:
        why = "has none of that name"
        raise SecretNotFoundError(
            f"no Colab secret named {name!r}", why=why, hint="add it under the key icon"
        ) from None
    except userdata.NotebookAccessError:  # not one of google.colab's own Errors
        raise SecretAccessError(
            f"this notebook has no access to the secret {name!r}",
            why="its access is switched off",
            hint="click the key icon at the left, and switch on notebook access for it",
        ) from None
    except errors.Error as error:
        raise SecretTimeoutError(
            "Colab's secrets do not answer",
            why=f"the browser gave no answer ({type(error).__name__})",
            hint="look whether the tab is open and connected, then run the cell again",
        ) from None
    return value


def _drive(place: Probe) -> Path | None:
    # What is mounted is not touched: a stalled mount would hold us, and a dead one raise. A plain folder of that name,
    # which a cell made before Drive was mounted, is no Drive: it goes with the machine.
    if mounts.find(place.path(DRIVE)) is not None:
        return place.path(DRIVE) / "MyDrive"
    elsewhere = mounts.below(place.path("/content"), mounts.DRIVE)  # as /content/gdrive of older notebooks
    return None if elsewhere is None else type(place.root)(elsewhere.folder, "MyDrive")


def _machine(place: Probe) -> str:
    """Read the machine's kind from its name: "gpu-t4-s-1x2y3z" is a GPU machine, "m-s-1x2y3z" a plain one."""
    kind = re.match(r"(m|gpu|tpu)(-[a-z]+\d\w*)?-", place.read(HOSTNAME))
    return f"machine kind {kind[0].rstrip('-')}" if kind else ""


def image_date(tag: str) -> str | None:
    """Read the day from a release tag.

    Example:
        >>> image_date("release-colab_20260825-060134_RC00")
        '2026-08-25'
        >>> image_date("nightly") is None
        True
    """
    match = re.search(r"(?<!\d)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)", tag)
    return f"{match[1]}-{match[2]}-{match[3]}" if match else None
