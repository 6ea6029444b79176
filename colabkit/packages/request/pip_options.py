"""The options of `pip install` and `uv pip install`, and what each becomes."""

from __future__ import annotations

_USER = "--user is left out: packages go where this Python has its own"
_VERIFIED = "is left out: certificates are verified"

FLAGS: dict[str, tuple[dict[str, bool], str]] = {
    **dict.fromkeys(("-U", "--upgrade", "--update"), ({"upgrade": True}, "")),
    "--pre": ({"pre": True}, ""),
    "--no-deps": ({"no_deps": True}, ""),
    **dict.fromkeys(("--no-dependencies",), ({"no_deps": True}, "")),
    **dict.fromkeys(
        ("--force-reinstall", "--force", "--reinstall", "-I", "--ignore-installed"), ({"reinstall": True}, "")
    ),
    "--no-build-isolation": ({"no_build_isolation": True, "source": True}, "packages may be built from source"),
    "--no-index": ({"no_index": True}, "no index is asked"),
    "--dry-run": ({"dry_run": True}, ""),
    "--user": ({}, _USER),
    "--allow-insecure-host": ({}, f"--allow-insecure-host {_VERIFIED}"),
    **dict.fromkeys(
        (
            *("-q", "--quiet", "-v", "--verbose", "-y", "--yes", "--no-cache-dir", "--no-cache", "--no-progress", "-n"),
            *("--disable-pip-version-check", "--no-warn-script-location", "--no-warn-conflicts", "--no-input"),
            *("--break-system-packages", "--system", "--no-python-version-warning", "--prefer-binary", "--no-color"),
            *("--use-pep517", "--compile", "--no-compile", "--compile-bytecode", "--native-tls", "--no-clean"),
            *("--no-binary-check", "--isolated", "--debug", "--no-build", "--system-certs", "--offline-cache"),
        ),
        ({}, ""),
    ),
}
"""Options without a value: the fields of a `Reading` that they set, and the notice about each."""

SHORT = frozenset(name for name in FLAGS if len(name) == 2)
"""Letters that may be joined: `-qU`."""

VALUES: dict[str, str] = {
    **dict.fromkeys(("-r", "--requirement", "--requirements"), "requirements"),
    **dict.fromkeys(("-c", "--constraint", "--constraints"), "constraints"),
    **dict.fromkeys(("-e", "--editable"), "editable"),
    **dict.fromkeys(("-i", "--index-url", "--default-index", "--pypi-url"), "index_url"),
    **dict.fromkeys(("--extra-index-url", "--index"), "extra_index_urls"),
    **dict.fromkeys(("-f", "--find-links"), "find_links"),
    **dict.fromkeys(("--no-binary", "--no-binary-package"), "source"),
    **dict.fromkeys(("-P", "--upgrade-package"), "upgrade"),
    "--torch-backend": "torch_backend",
    "--trusted-host": "verified",
    **dict.fromkeys(
        (
            *(
                "--progress-bar",
                "--root-user-action",
                "--timeout",
                "--default-timeout",
                "--retries",
                "--use-deprecated",
            ),
            *(
                "--use-feature",
                "--only-binary",
                "--cache-dir",
                "--upgrade-strategy",
                "--exists-action",
                "--log",
                "--cert",
            ),
            *("--python", "-p", "--color", "--link-mode", "--src", "--prerelease", "--index-strategy", "--report"),
            *("--keyring-provider", "--reinstall-package"),
        ),
        "dropped",
    ),
}
"""Options with a value, and what it is."""

_ELSEWHERE = "it installs into a folder of its own, and install() into this Python"
_BUILD = "it goes to the program that builds the package"

REFUSED: dict[str, str] = {
    **dict.fromkeys(("-t", "--target", "--prefix", "--root"), _ELSEWHERE),
    **dict.fromkeys(
        ("--config-settings", "-C", "--config-setting", "--global-option", "--install-option", "--build-option"), _BUILD
    ),
    **dict.fromkeys(
        ("--platform", "--python-version", "--implementation", "--abi", "--python-platform"),
        "it installs for another machine",
    ),
    "--ignore-requires-python": "what its authors have not made for this Python may break in silence",
    "--require-hashes": "a lock of colabkit or a requirements file brings its own hashes",
    "--resolution": "it takes the oldest versions",
    "--exclude-newer": "it takes versions of a day in the past; pin them in a lock instead: ck.lock()",
    "--overrides": "it installs versions that the packages themselves refuse",
    "--override": "it installs versions that the packages themselves refuse",
}
"""Options that are not for `install`, and why."""
