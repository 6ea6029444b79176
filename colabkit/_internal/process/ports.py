"""Ports of this machine."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path


def free_ports(count: int, host: str = "127.0.0.1", *, span: int = 1) -> list[int]:
    """Return ports that are free at this moment and that no outgoing connection is given meanwhile.

    They lie below the range from which the system numbers outgoing connections; a port of that range is free
    when it is asked for and may be the end of somebody's connection a moment later.

    Args:
        count: How many.
        host: Of which interface; the loopback one by default, "" for all.
        span: How many ports in a row are free from each one on.

    Example:
        >>> len(set(free_ports(3)))
        3
    """
    lowest, highest = 10_000, _first_outgoing() - span
    chosen: list[int] = []
    for _ in range(2_000):
        port = lowest + secrets.randbelow(max(1, highest - lowest))
        if all(abs(port - other) >= span for other in chosen) and _all_free(host, range(port, port + span)):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    sockets = [socket.socket() for _ in range(count)]  # crowded, or a range that begins low: what the system offers
    try:
        for opened in sockets:
            opened.bind((host, 0))
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def _first_outgoing() -> int:
    """Read where the numbers of outgoing connections begin; 32768, Linux' own, where it is not told."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def _all_free(host: str, ports: range) -> bool:
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True
