"""Which packages an install must leave as they are, and how the installer learns of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.packages.request.requirement import normal

if TYPE_CHECKING:
    from collections.abc import Collection

    from colabkit.packages.environment import Environment

KERNEL_STACK = (
    "ipykernel",
    "ipython",
    "ipywidgets",
    "jupyter-client",
    "prompt-toolkit",
    "pyzmq",
    "tornado",
    "traitlets",
)
"""The running kernel stands on these; Colab's own advice is that another version may make it crash in a loop."""

HEAVY = {
    "jax": ("jaxlib",),
    "keras": (),
    "numpy": (),
    "tensorflow": (),
    "torch": ("torchaudio", "torchvision"),
}
"""Gigabytes that the image built for its GPU and its driver, each with those that must match it to the digit."""


def constraints_for(site: Environment, named: Collection[str], *, constrain: bool, force: bool) -> dict[str, str]:
    """Return the packages that keep their version, as name and version.

    Args:
        site: What is installed.
        named: The names that the user asked for, in normal form: what is asked for by name may change.
        constrain: Hold the image's heavy packages.
        force: Let the kernel's stack change.
    """
    names: list[str] = []
    if not force:
        names += KERNEL_STACK
    if constrain:
        for heavy, companions in HEAVY.items():
            if heavy not in named:
                names += (heavy, *companions)
    versions = {}
    for name in names:
        here = site.get(name)
        if here is not None and normal(name) not in named:
            versions[here.name] = here.version
    return versions
