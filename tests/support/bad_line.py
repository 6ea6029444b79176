"""A line between a client and a server that breaks by chance."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from typing import Self


class BadLine:
    """Passes connections on to a port of this machine, and resets them at random.

    Args:
        port: The server behind it.
        chance: How likely a reset is before each block that comes back.
        block: Bytes of a block.
        seed: Chooses the breaks.

    Attributes:
        port: Where it listens.
        resets: How many connections it has broken.
    """

    def __init__(self, port: int, *, chance: float, block: int, seed: int = 0) -> None:
        self._behind, self._chance, self._block = port, chance, block
        self._random = random.Random(seed)  # noqa: S311 - breaks connections
        self.resets = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._behind)) as server:
            requests = threading.Thread(target=_copy, args=(client, server), daemon=True)
            requests.start()
            with client, contextlib.suppress(OSError):
                while data := server.recv(self._block):
                    if self._random.random() < self._chance:
                        self.resets += 1
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
                    client.sendall(data)
                client.shutdown(socket.SHUT_RD)  # a reset leaves when nobody reads from the socket any more
                requests.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(64 << 10):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
