"""A runtime in words, for a terminal or a cell."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from colabkit.runtime.base import Runtime


def text(runtime: Runtime) -> str:
    """Return the page that `print(detect())` and `colabkit detect` show."""
    rows = (
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
        ("lasts", _lasts(runtime)),
        ("session", _session(runtime)),
        *(("note", note) for note in runtime.notes),
    )
    return "\n".join(f"{name:<13}{value}" for name, value in rows if value)


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
    for one in runtime.accelerators:
        details = [size(one.memory) if one.memory else "", f"driver {one.driver}" if one.driver else ""]
        words = f"{one.name} ({', '.join(filter(None, details))})" if any(details) else one.name
        counts[words] = counts.get(words, 0) + 1
    return ", ".join(words if count == 1 else f"{count} x {words}" for words, count in counts.items())


def _image(runtime: Runtime) -> str:
    if runtime.image is None:
        return ""
    days = runtime.image_age_days
    return runtime.image if days is None else f"{runtime.image} ({days} days old)"


def _lasts(runtime: Runtime) -> str:
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
