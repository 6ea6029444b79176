"""What strangers on the network can do to a launch: nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest

from colabkit.errors import ClusterConfigError, WorkerMismatchError
from colabkit.launch import plan_launch, protocol
from colabkit.launch.fingerprint import compare, fingerprint
from colabkit.launch.report import in_words
from colabkit.launch.secret import default_file, launch_secret
from tests.framework.launch.test_supervisor import command, ports
from tests.support.waiting import wait_until


def talk(left, right, act):
    """Connect a lead and a member that know these secrets, and act with both ends."""

    async def scene():
        ends = asyncio.Queue()

        async def serve(link):
            await ends.put(link)
            await asyncio.sleep(60)

        server = await protocol.listen("127.0.0.1", 0, serve, secret=left)
        member = await protocol.connect("127.0.0.1", server.sockets[0].getsockname()[1], timeout=5)
        known = await member.prove(right, role="member")
        try:
            return await act(await ends.get() if known else None, member, known)
        finally:
            member.close()
            server.close()

    return asyncio.run(asyncio.wait_for(scene(), 30))


def test_who_knows_the_secret_is_heard():
    """Both sides prove it, then messages go both ways."""

    async def act(lead, member, known):
        await member.send(hello=1)
        await lead.send(start=2)
        return known, await lead.receive(), await member.receive()

    assert talk(b"one", b"one", act) == (True, {"hello": 1}, {"start": 2})


def test_a_start_of_512_hosts_with_long_names_arrives():
    """The list of all workers goes to each in one message; names of cloud hosts have up to 253 letters."""
    addresses = [f"{'h' * 244}{number:04d}.svc:8476" for number in range(512)]

    async def act(lead, member, _):
        sending = asyncio.ensure_future(lead.send(start=1, addresses=addresses))
        message = await member.receive()
        await sending
        return message

    assert talk(b"secret", b"secret", act)["addresses"] == addresses


def test_another_secret_is_found_by_both_sides():
    """Nothing is told; the member learns why."""

    async def act(lead, member, known):
        return known

    assert talk(b"one", b"two", act) is False


@pytest.mark.parametrize("how", ["changed", "repeated"])
def test_nobody_in_between_can_speak(how):
    """A line that was changed, or played again, ends the connection."""

    async def act(lead, member, _):
        written, write = [], member._writer.write
        member._writer.write = written.append
        await member.send(ended=1)
        (line,) = written
        write(line.replace(b'"ended": 1', b'"ended": 0') if how == "changed" else line + line)
        return [await lead.receive() for _ in range(2)]

    assert talk(b"one", b"one", act) == ([None, None] if how == "changed" else [{"ended": 1}, None])


def test_a_stranger_learns_and_ends_nothing(tmp_path):
    """A scanner, a forged greeting and a wrong proof change nothing; the launch waits for its own workers."""
    script = tmp_path / "job.py"
    script.write_text("print('work')")
    first, second = ports(2)
    names = f"127.0.0.1:{first},127.0.0.1:{second}"
    words = ("--workers", names, "--timeout", 60, script, "--token", "SECRET-ARG")
    lead = command("--rank", 0, *words)
    heard = b""
    for message in (
        b"",
        b'{"hello": 1, "fingerprint": {}}\n',
        b"[" * 60000 + b"\n",
        b'{"nonce": "x"}\n{"proof": "y"}\n',
    ):
        wait_until(lambda: answers(first + 2))
        with socket.create_connection(("127.0.0.1", first + 2), 5) as stranger:
            stranger.sendall(message)
            stranger.shutdown(socket.SHUT_WR)
            while data := stranger.recv(65536):
                heard += data
    assert lead.poll() is None
    assert [list(json.loads(line)) for line in heard.splitlines()] == [["nonce"]] * 4
    other = command("--rank", 1, *words)
    for one in (lead, other):
        out, err = one.communicate(timeout=60)
        assert one.returncode == 0, out + err
        assert "SECRET-ARG" not in out + err


def answers(port):
    """Say whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_hosts_with_other_secrets_say_so(tmp_path):
    """The host that comes learns what to do; worker 0 goes on waiting."""
    script = tmp_path / "job.py"
    script.write_text("")
    names = ",".join(f"127.0.0.1:{port}" for port in ports(2))
    words = ("--workers", names, "--timeout", 60, script)
    lead = command("--rank", 0, *words, env={**os.environ, "COLABKIT_LAUNCH_SECRET": "a" * 32})
    other = command("--rank", 1, *words, env={**os.environ, "COLABKIT_LAUNCH_SECRET": "b" * 32})
    _, err = other.communicate(timeout=60)
    assert other.returncode == ClusterConfigError.exit_code
    assert "COLABKIT_LAUNCH_SECRET" in err
    assert "aaaa" not in err
    assert lead.poll() is None


def test_where_the_secret_comes_from(tmp_path, monkeypatch):
    """The variable, the file, or one in the home that only its owner reads; a local launch makes its own."""
    script = tmp_path / "job.py"
    script.write_text("")
    hosts, local = plan_launch(script, workers=["a", "b"], rank=0), plan_launch(script, local=2)
    assert launch_secret(local) != launch_secret(local)
    assert launch_secret(hosts) == launch_secret(hosts)
    assert default_file().stat().st_mode & 0o777 == 0o600
    assert [path.name for path in default_file().parent.iterdir()] == ["launch-secret"]
    named = tmp_path / "secret"
    named.write_text("x" * 40 + "\n")
    named.chmod(0o644)
    with pytest.raises(ClusterConfigError, match="others can read"):
        launch_secret(hosts, {"COLABKIT_LAUNCH_SECRET_FILE": str(named)})
    named.chmod(0o600)
    same = launch_secret(hosts, {"COLABKIT_LAUNCH_SECRET": "x" * 40})
    assert launch_secret(hosts, {"COLABKIT_LAUNCH_SECRET_FILE": str(named)}) == same
    with pytest.raises(ClusterConfigError, match="too short"):
        launch_secret(hosts, {"COLABKIT_LAUNCH_SECRET": "hunter2"})


def test_arguments_that_differ_are_named_and_not_quoted(tmp_path):
    """They may hold a token; versions are quoted, as they help."""
    script = tmp_path / "job.py"
    script.write_text("")
    one, two = (fingerprint(plan_launch(script, "--token", token, local=2)) for token in ("SECRET-1", "SECRET-2"))
    with pytest.raises(WorkerMismatchError) as caught:
        compare(one, {**two, "keras": "1.0"}, rank=1)
    assert "the script's arguments" in str(caught.value)
    assert "keras: " in str(caught.value)
    assert "SECRET" not in json.dumps([one, two]) + str(caught.value)


def test_every_signal_has_a_name():
    """A worker that was killed by a real-time signal is a failure like any other."""
    assert all(in_words(0, -number).startswith("worker 0 was killed by") for number in range(1, 128))
