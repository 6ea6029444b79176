"""The server with faults: what it says that it sent."""

from __future__ import annotations

import http.client

from colabkit.testing.http import FaultServer


def test_whoever_has_an_answer_finds_it_counted():
    """Counted after the bytes went out, a fetch that is over reads one answer too few now and then."""
    with FaultServer() as server:
        server.put("a.bin", bytes(226))
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        counts = []
        for _ in range(300):
            connection.request("GET", "/a.bin")
            connection.getresponse().read()
            counts.append(server.sent)
        connection.close()
    assert counts == [226 * number for number in range(1, 301)]
