"""What `detect()` returns: a host's facts and what was measured, and all of it in words."""

from __future__ import annotations

import functools

from colabkit._internal.display.show import Shown
from colabkit.runtime.base import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from colabkit._internal.display.show import Facts
    from colabkit.runtime.devices import Accelerator, Devices
    from colabkit.runtime.frontend import Frontend
    from colabkit.runtime.quota import Quota
    from colabkit.runtime.resources import Disk


class Runtime(Shown, Host):
    """Where this process runs and what it has: a host's facts and what was measured here.

    Attributes:
        python: The version of this interpreter.
        cpus: The cores it may use; a fraction where a container is given one.
        memory: The bytes it may use; the container's limit where that is lower.
        disk: Total and free bytes of the file system of `work_dir`.
        session_age: Seconds since the container started; None where the machine is the user's own.
    """

    python: str
    cpus: float
    memory: int | None
    disk: Disk | None
    session_age: float | None
    _detect_devices: Callable[[], Devices]
    _ask: Callable[[], tuple[Quota, ...]]

    @functools.cached_property
    def frontend(self) -> Frontend:
        """Where the notebook is shown; on Colab it is asked at the first use, for 2 seconds at most once."""
        return self._frontend()

    @functools.cached_property
    def devices(self) -> Devices:
        """The accelerators and where we looked; nvidia-smi, where it exists, is asked at the first use only."""
        return self._detect_devices()

    @functools.cached_property
    def quotas(self) -> tuple[Quota, ...]:
        """Compute units and hours that the account has left, by `colab usage` and `kaggle quota`.

        They ask a server, so they run at the first use only, where they are installed and signed in, for 5 seconds each
        at most; what they do not tell is left out. `print(detect())` shows them once they have been asked.
        """
        return self._ask()

    @property
    def accelerators(self) -> tuple[Accelerator, ...]:
        """One entry for each GPU and each TPU chip."""
        return self.devices.found

    @property
    def image_age_days(self) -> int | None:
        """Days since the image was made, or None where its date is unknown."""
        if self.image_date is None:
            return None
        import datetime as dt

        return (dt.datetime.now(dt.UTC).date() - dt.date.fromisoformat(self.image_date)).days

    def restart(self, *, force: bool = False) -> None:
        """Start this notebook's kernel anew, in place; see `colabkit.runtime.restart`.

        The calling cell runs again from its top in a fresh interpreter, and the queued cells of "Run all" follow.
        The process keeps its id and its environment variables. In the fresh interpreter this call returns at once.

        Args:
            force: Restart even if earlier cells made names that will be lost.

        Raises:
            RestartError: It cannot or must not be done here; nothing was lost.
        """
        from colabkit.runtime.restart import restart

        restart(force=force, is_headless=lambda: self.frontend == "headless")

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `json.dumps` takes."""
        values = {"host": self.host, "name": self.name, "frontend": self.frontend, **self.fields()}
        for name in ("work_dir", "persistent_dir"):
            values[name] = None if values[name] is None else str(values[name])
        values["disk"] = None if self.disk is None else self.disk.fields()
        values["evidence"], values["notes"] = list(self.evidence), list(self.notes)
        values["image_age_days"] = self.image_age_days
        values["accelerators"] = [_plain(accelerator) for accelerator in self.accelerators]
        values["accelerator_evidence"] = self.devices.evidence
        if "quotas" in self.__dict__:
            values["quotas"] = [quota.fields() for quota in self.quotas]
        return values

    def __str__(self) -> str:
        return text(self)

    def _line(self) -> str:
        return f"<Runtime: {self.name}, Python {self.python}>"  # asks no device; a cell shows the whole

    def _facts(self) -> Facts:
        return "Runtime", rows(self)


def _plain(accelerator: Accelerator) -> dict[str, Any]:
    values = accelerator.fields()
    if accelerator.compute_capability is not None:
        values["compute_capability"] = ".".join(str(number) for number in accelerator.compute_capability)
    return values


def text(runtime: Runtime) -> str:
    """Return the page that `print(detect())` and `colabkit detect` show."""
    return "\n".join(f"{name:<13}{value}" for name, value in rows(runtime) if value)


def rows(runtime: Runtime) -> list[tuple[str, object]]:
    """Return what there is to tell, by its name."""
    return [
        ("host", runtime.name),
        ("evidence", "; ".join(runtime.evidence)),
        ("frontend", runtime.frontend),
        ("python", runtime.python),
        ("image", _image(runtime)),
        ("cpu", f"{runtime.cpus:g} cores"),
        ("memory", "unknown" if runtime.memory is None else size(runtime.memory)),
        (
            "disk",
            "unknown" if runtime.disk is None else f"{size(runtime.disk.free)} free of {size(runtime.disk.total)}",
        ),
        ("accelerators", accelerators(runtime)),
        ("work in", str(runtime.work_dir)),
        ("lasts", _persistence(runtime)),
        ("session", _session(runtime)),
        *(("left", str(quota)) for quota in known_quotas(runtime)),
        *(("note", note) for note in runtime.notes),
    ]


def size(count: float) -> str:
    """Return bytes in the unit that people read.

    Example:
        >>> size(13_616_000_000), size(512)
        ('12.7 GiB', '512 B')
    """
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        del units[0]
    return f"{count:.0f} {units[0]}" if units[0] == "B" or count >= 100 else f"{count:.1f} {units[0]}"


def accelerators(runtime: Runtime) -> str:
    """Name the GPUs and TPUs, equal ones together, or say where none was found."""
    if not runtime.accelerators:
        return f"none ({runtime.devices.evidence})"
    counts: dict[str, int] = {}
    for accelerator in runtime.accelerators:
        details = [
            size(accelerator.memory) if accelerator.memory else "",
            f"driver {accelerator.driver}" if accelerator.driver else "",
        ]
        words = f"{accelerator.name} ({', '.join(filter(None, details))})" if any(details) else accelerator.name
        counts[words] = counts.get(words, 0) + 1
    return ", ".join(words if count == 1 else f"{count} x {words}" for words, count in counts.items())


def known_quotas(runtime: Runtime) -> tuple[Quota, ...]:
    """Return the quotas where they have been asked for already; nobody is asked."""
    quotas: tuple[Quota, ...] = runtime.__dict__.get("quotas", ())
    return quotas


def _image(runtime: Runtime) -> str:
    if runtime.image is None:
        return ""
    days = runtime.image_age_days
    return runtime.image if days is None else f"{runtime.image} ({days} days old)"


def _persistence(runtime: Runtime) -> str:
    if runtime.persistent_dir is None:
        return "nothing on this machine"
    return str(runtime.persistent_dir)


def _session(runtime: Runtime) -> str:
    parts = []
    if runtime.session_age is not None:
        parts.append(f"{runtime.session_age / 3600:.1f} h old")
    if runtime.max_session_hours is not None:
        parts.append(f"ends after {runtime.max_session_hours:g} h at the latest")
    if runtime.idle_minutes is not None:
        parts.append(f"or {runtime.idle_minutes:g} minutes without work")
    return ", ".join(parts)
