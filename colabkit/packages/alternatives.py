"""What can be had instead of a package without a wheel for this Python: looked up once an installer has refused it."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

from colabkit.errors import NoWheelError, PackageNotFoundError
from colabkit.packages.request.requirement import normal, read_need
from colabkit.packages.request.requirements_file import masked

if TYPE_CHECKING:
    from colabkit.errors import ColabKitError
    from colabkit.packages.installers.request import Failure, Request
    from colabkit.packages.installers.selection import Installer
    from colabkit.packages.request.requirements_file import InstallRequirement

MEANT = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "google-cloud": "google-cloud-storage",
    "huggingface": "huggingface_hub",
    "open-cv": "opencv-python",
    "opencv": "opencv-python",
    "pil": "pillow",
    "pptx": "python-pptx",
    "pytorch": "torch",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "tensorflow-gpu": "tensorflow",
    "tf-nightly-2.0-preview": "tensorflow",
    "tf-nightly-gpu-2.0-preview": "tensorflow",
    "torch-vision": "torchvision",
    "umap": "umap-learn",
    "usb": "pyusb",
    "yaml": "pyyaml",
}
"""Names under which a package is imported or was known, and the name that its authors publish it by."""

PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"

_WITHOUT_WHEEL = (
    re.compile(r"(?:Wheels are required for|no wheels? for|Failed to build|distributions for) `([A-Za-z0-9._-]+)"),
    re.compile(r"found wheels for `([A-Za-z0-9._-]+)`"),
    re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)"),
)
_TAGS = re.compile(r"with the following (?:Python ABI|Python implementation|platform) tags?: (`.+`)")
_CPYTHON = re.compile(r"`cp(\d)(\d+)m?u?`")
_LOCAL = re.compile(r"\+(cu\d+|cpu|rocm[\d.]+)")
_LISTED = re.compile(r"\(from versions: ([^)]+)\)")


def with_alternatives(
    error: ColabKitError, failure: Failure, request: Request, installer: Installer, program: str
) -> ColabKitError:
    """Return the error with what can be had instead, where it says that a package or its wheel is missing.

    Args:
        error: What the failure means.
        failure: What the installer left.
        request: What it was asked.
        installer: The installer.
        program: Its program.
    """
    if not isinstance(error, NoWheelError | PackageNotFoundError):
        return error
    output = f"{failure.done.out}\n{failure.done.err}"
    name = next((normal(match[1]) for pattern in _WITHOUT_WHEEL if (match := pattern.search(output))), "")
    published = MEANT.get(name) or next(
        (MEANT[requirement.name] for requirement in request.requirements if requirement.name in MEANT), ""
    )
    if hint := next(
        (way for item in request.requirements if item.name in normal(output) and (way := _way(item, request))), ""
    ):
        error.hint = hint
        return error
    if published:
        error.hint = f"ask for {published}, the name under which it is published"
        return error
    is_built = "cannot be built" in error.what or name in request.built
    if not name or is_built or request.options.source:
        return error
    requested = next((requirement.need.text for requirement in request.requirements if requirement.name == name), name)
    if not isinstance(error, NoWheelError):
        allows = read_need(requested).allows
        if not any(version and allows(version) for version in installer.versions(program, request, name)):
            return error
    return _no_wheel(error, output, masked(requested), _fitting(installer, program, request, name, requested, output))


def _way(requirement: InstallRequirement, request: Request) -> str:
    """Return what to do about a name that no index has; "" where nobody can tell.

    A guess is never the name of a package that is not known: it may be somebody else's.
    """
    name = next(iter(re.findall(r"[\w.-]+", requirement.need.text)), "")
    top = name.partition(".")[0]
    if name.replace("-", "_") in sys.stdlib_module_names:
        return f"{name} comes with Python: import it, nothing is to be installed"
    if requirement.name == "python":
        return f"this is {PYTHON}, which no package changes; another version is another runtime"
    if top != name and top in packages_distributions():
        return f"{name} is a part of {MEANT.get(top.lower(), top)}, which is here: import it"
    places = f"{request.options.index_url} {request.options.extra_index_urls} {request.options.find_links}"
    if (
        requirement.name.startswith("torch")
        and "pytorch.org" not in places
        and (built := _LOCAL.search(requirement.need.text))
    ):
        return f"its builds for {built[1]} are elsewhere: add --extra-index-url https://download.pytorch.org/whl/{built[1]}"
    return ""


def _no_wheel(error: ColabKitError, output: str, requirement: str, versions: list[str]) -> NoWheelError:
    tags = _TAGS.search(output)
    pythons = sorted({(int(major), int(minor)) for major, minor in _CPYTHON.findall(tags[1])}) if tags else []
    name = read_need(requirement).name
    why = error.why
    if pythons:
        why = f"its wheels are for Python {', '.join(f'{major}.{minor}' for major, minor in pythons)}"
    elif tags is None:
        why = "it would have to be compiled from its source code"
    ways = [f"ask for {' or '.join(f'{name}=={version}' for version in versions)}, which has one"] if versions else []
    if tags is None:
        ways.append("install(..., source=True) compiles it, which may take many minutes")
    if not ways:
        ways.append("ask for another version; on Colab an older runtime version has an older Python")
    return NoWheelError(f"{requirement} has no wheel for {PYTHON}", why=why, hint="; or ".join(ways))


def _fitting(
    installer: Installer, program: str, request: Request, name: str, requirement: str, output: str
) -> list[str]:
    """Return the nearest versions that have a wheel for this Python, one below and one above what was asked for."""
    listed = _LISTED.search(output)
    if listed is not None and listed[1] != "none":
        return _around(listed[1].split(", "), requirement)
    pinned = re.search(r"(?:==|~=|<=?|>=?)\s*([\w.!+]+)", requirement)
    if pinned is None:
        return []
    versions = (
        installer.nearest(program, request, f"{name}<{pinned[1]}", is_lowest=False),
        installer.nearest(program, request, f"{name}>{pinned[1]}", is_lowest=True),
    )
    return [version for version in versions if version]


def _around(versions: list[str], requirement: str) -> list[str]:
    from packaging.version import InvalidVersion, Version

    pinned = re.search(r"(?:==|~=|<=?|>=?)\s*([\w.!+]+)", requirement)
    try:
        have = sorted(version for version in map(Version, versions) if not version.is_prerelease)
        pinned_version = Version(pinned[1]) if pinned else None
    except InvalidVersion:
        return []
    if pinned_version is None:
        return [str(version) for version in have[-1:]]
    below, above = (
        [version for version in have if version < pinned_version],
        [version for version in have if version > pinned_version],
    )
    return [str(version) for version in (*below[-1:], *above[:1])]
