"""Google Colab: a machine that Google lends, with the browser, VS Code or the `colab` command in front of it."""

from __future__ import annotations

import re

from colabkit.runtime.base import Host, Place

TAG = "COLAB_RELEASE_TAG"
HOSTNAME = "/var/colab/hostname"
"""The file that google.colab's own drive.mount asks for; a Colab image on one's own machine has none."""

SHELL = "google.colab._shell"
"""The module of the kernel's shell class; a subprocess has no shell."""

DRIVE = ("/content/drive/MyDrive", "/content/drive/My Drive")


def recognise(place: Place) -> Host | None:
    """Recognise a Colab machine, in its kernel as well as in a `!python` subprocess."""
    if not (place.env.get(TAG) and place.has(HOSTNAME)):
        return None
    shell = f"the shell is {SHELL}" if type(place.shell).__module__ == SHELL else ""
    return Host(
        host="colab",
        name="Google Colab",
        evidence=tuple(filter(None, (place.shows(TAG), place.exists(HOSTNAME), shell, _machine(place)))),
        frontend=place.frontend(hosted="browser"),
        work_dir=place.folder("/content") or place.cwd,
        persistent_dir=next(filter(None, map(place.folder, DRIVE)), None),
        image=place.env[TAG],
        image_date=image_date(place.env[TAG]),
        # "At most 12 hours" free of charge, 24 with compute units: https://research.google.com/colaboratory/faq.html
        max_session_hours=12,
        idle_minutes=90,
        notes=("12 hours is the free limit, 24 with compute units; the idle time is as users measure it",),
    )


def _machine(place: Place) -> str:
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
    found = re.search(r"(?<!\d)(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?!\d)", tag)
    return f"{found[1]}-{found[2]}-{found[3]}" if found else None
