"""Any machine that no service has marked: a JupyterHub, Binder, or the user's own. The last: it takes what is left."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe
from colabkit.runtime.hosts import colab


def recognise(place: Probe) -> Host:
    """Recognise Binder and a hub; else describe the machine by what this process runs in."""
    return _hub(place) or _own_machine(place)


def _hub(place: Probe) -> Host | None:
    """Recognise a Binder session, then any JupyterHub."""
    if place.env.get("BINDER_SERVICE_HOST"):
        return Host(
            host="binder",
            name="Binder",
            evidence=(place.is_set("BINDER_SERVICE_HOST"),),
            _frontend=place.frontend(),
            work_dir=place.cwd,
            # https://mybinder.readthedocs.io/en/latest/about/user-guidelines.html
            max_session_hours=6,
            idle_minutes=10,
            notes=("nothing is kept when a Binder session ends",),
        )
    if place.env.get("JUPYTERHUB_USER"):
        marks = ("JUPYTERHUB_USER", "JUPYTERHUB_API_URL")
        return Host(
            host="jupyterhub",
            name="JupyterHub",
            evidence=tuple(filter(None, map(place.is_set, marks))),
            _frontend=place.frontend(),
            work_dir=place.cwd,
            persistent_dir=place.home,
            ephemeral=False,
        )
    return None


def _own_machine(place: Probe) -> Host:
    evidence = [_process(place)]
    image = place.env.get(colab.TAG)
    if image:
        evidence.append(f"{place.shows(colab.TAG)} but no {colab.HOSTNAME}: Colab's image on another machine")
    return Host(
        host="local",
        name="Colab's image on your own machine" if image else "your own machine",
        evidence=("no mark of a notebook host", *evidence),
        _frontend=place.frontend(),
        work_dir=place.cwd,
        persistent_dir=place.cwd,
        ephemeral=False,
        image=image,
        image_date=colab.image_date(image or ""),
    )


def _process(place: Probe) -> str:
    shell = type(place.shell).__name__
    if place.shell is not None:
        return f"{'a Jupyter kernel' if hasattr(place.shell, 'kernel') else 'IPython'} ({shell})"
    parents = [name for name in ("VSCODE_PID", "JPY_PARENT_PID") if place.env.get(name)]
    if parents:  # inherited by subprocesses, so they say where we come from, not what we are
        return f"a script started from a notebook or an editor ({parents[0]} is set)"
    return "a plain Python process"
