"""How supervisors talk: one JSON object a line over TCP, between those who know the launch's secret.

Before anything is told, each side proves that it knows the secret: an HMAC over a number of the other's choice. From
then on every line carries an HMAC of its own, so that nobody in between can add, change, repeat or leave out one.
Whatever comes in is checked before it is used; a peer that proves nothing is hung up on, and ends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import socket
from typing import TYPE_CHECKING, Any

from colabkit._internal.log import notify

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LONGEST = 1 << 18  # bytes of a line: it names 512 hosts, each by up to 253 letters and a port, twice quoted
_PROVING = 10.0  # seconds for a peer to prove that it belongs here
_STRANGERS = 64  # connections that may be proving at one time
_TOLD = 5  # strangers that are told of
_MARK = 32  # hexadecimal digits of a line's HMAC
_ROLES = ("lead", "member")


class Connection:
    """One connection.

    Args:
        reader: What comes in, made with `limit=_LONGEST`.
        writer: What goes out.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._keys: tuple[bytes, bytes] | None = None  # for what goes out and what comes in, once it is proven
        self._sent = self._received = 0
        wire = writer.get_extra_info("socket")
        # A host that is switched off says nothing; the system asks it every 5 s after 10 s of silence.
        with contextlib.suppress(OSError):  # the other side may have hung up already
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_NODELAY", 1)):
                if hasattr(socket, option):  # macOS calls the first one otherwise, and two hours are its default
                    wire.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    @property
    def peer(self) -> str:
        """The address of the other side, for messages."""
        name = self._writer.get_extra_info("peername")
        return str(name[0]) if name else "an unknown address"

    async def send(self, **message: Any) -> None:
        """Send one message; a lost connection is noticed by who reads."""
        if self._writer.is_closing():
            return
        line = json.dumps(message).encode()
        if self._keys is not None:
            line = _mark(self._keys[0], self._sent, line) + line
            self._sent += 1
        self._writer.write(line + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            self.close()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None when the connection is lost or speaks something else."""
        try:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                return None
            line = line[:-1]
            if self._keys is not None:
                mark, line = line[:_MARK], line[_MARK:]
                if not hmac.compare_digest(mark, _mark(self._keys[1], self._received, line)):
                    self.close()
                    return None
                self._received += 1
            message = json.loads(line)
        except (OSError, ValueError, RecursionError):  # ValueError: no JSON, or a line too long
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """End the connection."""
        self._writer.close()

    async def prove(self, secret: bytes, *, role: str) -> bool | None:
        """Prove to the other side that this one knows the secret, and see that it knows it too.

        Args:
            secret: The launch's.
            role: What this side is, "lead" or "member"; so that no side's proof can be played back to it.

        Returns:
            Whether it does; None where it is no supervisor of a launch, as a port scanner.
        """
        other = _ROLES[1 - _ROLES.index(role)]
        own = secrets.token_hex(16)
        await self.send(nonce=own)
        match await self.receive():
            case {"nonce": str(theirs)} if len(theirs) == len(own):
                pass
            case _:
                return None
        both = {role: own, other: theirs}
        talk = f"{both['lead']} {both['member']}"
        if role == "member":  # who came shows it first: to who does not belong here nothing is proven either
            await self.send(proof=_hmac(secret, f"member {talk}").hex())
        match await self.receive():
            case {"proof": str(proof)} if hmac.compare_digest(
                proof.encode(), _hmac(secret, f"{other} {talk}").hex().encode()
            ):
                pass
            case _:
                return False
        if role == "lead":
            await self.send(proof=_hmac(secret, f"lead {talk}").hex())
        self._keys = (_hmac(secret, f"from {role} {talk}"), _hmac(secret, f"from {other} {talk}"))
        return True


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, f"colabkit launch: {text}".encode(), hashlib.sha256)


def _mark(key: bytes, number: int, line: bytes) -> bytes:
    return hmac.digest(key, b"%d %b" % (number, line), hashlib.sha256).hex()[:_MARK].encode()


async def connect(host: str, port: int, *, timeout: float) -> Connection:
    """Open a connection.

    Raises:
        OSError: It could not be opened in time.
    """
    return Connection(*await asyncio.wait_for(asyncio.open_connection(host, port, limit=_LONGEST), timeout))


async def listen(
    host: str, port: int, serve: Callable[[Connection], Awaitable[None]], *, secret: bytes
) -> asyncio.Server:
    """Listen; `serve(link)` is called for each connection whose other side has proven that it knows the secret.

    Raises:
        OSError: The port cannot be had.
    """
    proving, told = 0, 0

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal proving, told
        link = Connection(reader, writer)
        known: bool | None = None
        # Cancelled only when the loop ends; Python 3.11 would print the cancellation as an error of its own.
        with contextlib.suppress(asyncio.CancelledError):
            if proving < _STRANGERS:
                proving += 1
                try:
                    known = await asyncio.wait_for(link.prove(secret, role="lead"), _PROVING)
                except TimeoutError:
                    pass
                finally:
                    proving -= 1
            if known:
                await serve(link)
            elif known is False and told < _TOLD:
                told += 1
                notify("a peer at %s does not know the secret of this launch, and was rejected", link.peer)
        link.close()

    return await asyncio.start_server(begin, host, port, limit=_LONGEST)
