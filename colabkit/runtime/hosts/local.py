"""The user's own machine: VS Code, Jupyter, IPython or a script. The last of the table: it takes what is left."""

from __future__ import annotations

from colabkit.runtime.base import Host, Probe
from colabkit.runtime.hosts import colab


def recognise(place: Probe) -> Host:
    """Describe the machine by what this process runs in."""
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
