"""Compute units and weekly hours, as the hosts' own commands tell them: `colab usage` and `kaggle quota`.

Both commands ask a server, so they run only where they are installed and signed in, when somebody reads
`Runtime.quotas`, and for a few seconds at most. Their words were read in google-colab-cli 0.7.3 and kaggle 2.2.5.
"""

from __future__ import annotations

import json
import re

from colabkit import config
from colabkit._internal.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

TIME_LIMIT = 5.0
"""Seconds that one command may take."""

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_BALANCE = re.compile(rf"^Current balance: {_NUMBER} compute units", re.MULTILINE)
_RATE = re.compile(rf"^Usage rate: {_NUMBER}/hr", re.MULTILINE)
_HOURS = re.compile(rf"{_NUMBER}h")
_KAGGLE_LOGINS = (
    ".kaggle/access_token",
    ".kaggle/kaggle.json",
    ".config/kaggle/kaggle.json",
    ".kaggle/credentials.json",
)
_COLAB_LOGINS = (
    ".config/colab-cli",
    ".config/gcloud/application_default_credentials.json",
    ".colab-cli-oauth-config.json",
)


class Quota(Record):
    """What an account may still use.

    Attributes:
        host: Whose account it is: "colab" or "kaggle".
        what: "compute units", "GPU" or "TPU".
        left: How much of it is left: compute units, or hours.
        total: How much there is until it is renewed, in the same unit; None where that is not told.
        hours_left: Hours until nothing is left: at the rate of now for compute units, None while nothing uses them.
        renewed: When it is renewed, as the host writes it, or "".
    """

    host: str
    what: str
    left: float
    total: float | None
    hours_left: float | None
    renewed: str

    def __str__(self) -> str:
        if self.what == "compute units":
            rate = f", {self.hours_left:.1f} h at the rate of now" if self.hours_left is not None else ""
            return f"{self.left:.2f} compute units of Colab{rate}"
        renewed = f", renewed {self.renewed[:16].replace('T', ' ')}" if self.renewed else ""
        return f"{self.left:.1f} of {self.total or 0:.1f} h of Kaggle's {self.what} left{renewed}"


def ask(host: str, env: Mapping[str, str], home: Path | None = None) -> tuple[Quota, ...]:
    """Ask the commands that are installed and signed in; one that fails or is slow tells nothing.

    Args:
        host: The host of this machine. Its own command is asked; on a machine of neither, both are.
        env: The environment variables.
        home: The user's home folder.
    """
    import shutil

    from colabkit._internal.process import proc

    home = home or config.home_folder(env)
    quotas: list[Quota] = []
    for name, (words, is_signed_in, read) in _COMMANDS.items():
        if host in _COMMANDS and host != name:
            continue
        path = shutil.which(words[0], path=env.get("PATH"))
        if path is None or not is_signed_in(env, home):
            continue
        done = proc.run([path, *words[1:]], timeout=TIME_LIMIT)
        if done.ok:
            quotas += read(done.out)
    return tuple(quotas)


def of_colab(text: str) -> list[Quota]:
    r"""Read what `colab usage` prints.

    Example:
        >>> of_colab("Current balance: 20.00 compute units\nUsage rate: 2.50/hr\nActive assignments: 1")[0].hours_left
        8.0
    """
    balance, rate = _BALANCE.search(text), _RATE.search(text)
    if balance is None:
        return []
    left, hourly = float(balance[1]), float(rate[1]) if rate else 0.0
    hours = left / hourly if hourly > 0 else None
    return [Quota(host="colab", what="compute units", left=left, total=None, hours_left=hours, renewed="")]


def of_kaggle(text: str) -> list[Quota]:
    """Read what `kaggle quota --format json` prints.

    Example:
        >>> row = '[{"resource": "GPU", "used": "17.50h", "remaining": "12.50h", "total": "30.00h", "refreshAt": ""}]'
        >>> of_kaggle(row)[0].left
        12.5
    """
    try:
        rows = json.loads(text[text.index("[") :])
    except ValueError:
        return []
    quotas = []
    for row in rows if isinstance(rows, list) else []:
        values: Any = row if isinstance(row, dict) else {}
        left, total = (_HOURS.fullmatch(str(values.get(name))) for name in ("remaining", "total"))
        if left is not None and total is not None and values.get("resource") in ("GPU", "TPU"):
            hours = float(left[1])
            quotas.append(
                Quota(
                    host="kaggle",
                    what=values["resource"],
                    left=hours,
                    total=float(total[1]),
                    hours_left=hours,
                    renewed=str(values.get("refreshAt") or ""),
                )
            )
    return quotas


def _kaggle_is_signed_in(env: Mapping[str, str], home: Path) -> bool:
    named = env.get("KAGGLE_API_TOKEN") or (env.get("KAGGLE_USERNAME") and env.get("KAGGLE_KEY"))
    return bool(named) or any((home / name).exists() for name in _KAGGLE_LOGINS)


def _colab_is_signed_in(env: Mapping[str, str], home: Path) -> bool:
    return bool(env.get("GOOGLE_APPLICATION_CREDENTIALS")) or any((home / name).exists() for name in _COLAB_LOGINS)


_COMMANDS: dict[
    str, tuple[tuple[str, ...], Callable[[Mapping[str, str], Path], bool], Callable[[str], list[Quota]]]
] = {
    "colab": (("colab", "usage"), _colab_is_signed_in, of_colab),
    "kaggle": (("kaggle", "quota", "--format", "json"), _kaggle_is_signed_in, of_kaggle),
}
