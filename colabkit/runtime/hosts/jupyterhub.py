"""JupyterHub and Binder: a notebook server that someone else runs."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe


def recognise(place: Probe) -> Host | None:
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
