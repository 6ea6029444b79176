"""How supervisors talk: one JSON object a line over TCP. Whatever comes in is checked before it is used."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import Any

_LONGEST = 1 << 16


class Link:
    """One connection.

    Args:
        reader: What comes in, made with `limit=_LONGEST`.
        writer: What goes out.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        wire = writer.get_extra_info("socket")
        # A host that is switched off says nothing; the system asks it every 5 s after 10 s of silence.
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_NODELAY", 1)):
            if hasattr(socket, option):  # macOS calls the first one otherwise, and two hours are its default
                wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    async def send(self, **message: Any) -> None:
        """Send one message; a lost connection is noticed by who reads."""
        if self._writer.is_closing():
            return
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            self.close()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None when the connection is lost or speaks something else."""
        try:
            line = await self._reader.readline()
            message = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError):  # ValueError: no JSON, or a line too long
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


async def connect(host: str, port: int, *, timeout: float) -> Link:
    """Open a connection.

    Raises:
        OSError: It could not be opened in time.
    """
    return Link(*await asyncio.wait_for(asyncio.open_connection(host, port, limit=_LONGEST), timeout))


async def listen(host: str, port: int, serve: Any) -> asyncio.Server:
    """Listen; `serve(link)` is called for each connection.

    Raises:
        OSError: The port cannot be had.
    """

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        # Cancelled only when the loop ends; Python 3.11 would print the cancellation as an error of its own.
        with contextlib.suppress(asyncio.CancelledError):
            await serve(link)
        link.close()

    return await asyncio.start_server(begin, host, port, limit=_LONGEST)
