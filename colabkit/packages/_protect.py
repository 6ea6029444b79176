"""Which packages an install must leave as they are, and how that is told to the installer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.packages._need import normal

if TYPE_CHECKING:
    from collections.abc import Collection

    from colabkit.packages._site import Site

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


def held(site: Site, asked: Collection[str], *, constrain: bool, force: bool) -> dict[str, str]:
    """Return the packages that keep their version, as name and version.

    Args:
        site: What is installed.
        asked: The names that the user asked for, in normal form: what is asked for by name may change.
        constrain: Hold the image's heavy packages.
        force: Let the kernel's stack change.
    """
    names: list[str] = []
    if not force:
        names += KERNEL_STACK
    if constrain:
        for heavy, companions in HEAVY.items():
            if heavy not in asked:
                names += (heavy, *companions)
    found = {}
    for name in names:
        here = site.get(name)
        if here is not None and normal(name) not in asked:
            found[here.name] = here.version
    return found
