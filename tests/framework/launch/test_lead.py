"""What the lead of a launch decides, with keepers that come, go and come again at moments of the test's choice."""

from __future__ import annotations

import asyncio
from pathlib import Path

from colabkit.launch.coordinator import Lead
from colabkit.launch.plan import Plan


class Keeper:
    """The far end of a connection: what it says is queued, what it hears is kept."""

    def __init__(self, rank):
        self.heard = []
        self._says = asyncio.Queue()
        self.say({"hello": rank, "fingerprint": {}})

    def say(self, message):
        """Let the lead hear a message; None is the loss of the connection."""
        self._says.put_nowait(message)

    async def receive(self):
        """Give the lead the next message."""
        return await self._says.get()

    async def send(self, **message):
        """Take what the lead says."""
        self.heard.append(message)

    def close(self):
        """Be hung up on."""
        self.say(None)


class Launch:
    """A lead that runs, and the keepers that are connected to it."""

    def __init__(self):
        plan = Plan(
            script=Path("train.py"),
            args=(),
            workers=("host0:1", "host1:1"),
            count=2,
            ranks=(0,),
            restarts=3,
            min_workers=2,
            timeout=30,
            evidence="",
        )
        self.lead = Lead(plan, fingerprint={})
        self._tasks = []

    def connect(self, rank):
        """Connect a keeper."""
        keeper = Keeper(rank)
        self._tasks.append(asyncio.ensure_future(self.lead.serve(keeper)))
        return keeper

    def begin(self):
        """Let the lead decide."""
        self._tasks.append(asyncio.ensure_future(self.lead.run()))
        return self._tasks[-1]

    async def end(self):
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def settled(condition):
    """Let the lead act until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_who_was_lost_before_the_start_is_no_failure_of_it():
    """A host that went and came again while the others were awaited costs no attempt."""

    async def scene():
        launch = Launch()
        early = launch.connect(1)
        await settled(lambda: 1 in launch.lead._links)
        early.close()
        await settled(lambda: 1 not in launch.lead._links)
        running = launch.begin()
        first, second = launch.connect(0), launch.connect(1)
        await settled(lambda: first.heard and second.heard)
        for keeper in (first, second):
            keeper.say({"ended": 0, "attempt": 1, "error": None})
        async with asyncio.timeout(10):
            report = await running
        await launch.end()
        return report

    report = asyncio.run(scene())
    assert (report.code, report.attempts, report.failures) == (0, 1, ())


def test_a_stray_host_in_the_middle_of_a_training_is_refused_alone():
    """A second host with a rank that is taken hears it; when a worker is lost later, all start again."""

    async def scene():
        launch = Launch()
        running = launch.begin()
        first, second = launch.connect(0), launch.connect(1)
        await settled(lambda: first.heard and second.heard)
        stray = launch.connect(1)
        await settled(lambda: stray.heard)
        second.close()
        await settled(lambda: {"stop": False} in first.heard)
        first.say({"ended": -9, "attempt": 1, "error": None})
        await settled(lambda: 1 not in launch.lead._links)
        again = launch.connect(1)
        await settled(lambda: again.heard or running.done())
        await launch.end()
        return stray.heard, again.heard

    stray, again = asyncio.run(scene())
    assert [list(message) for message in stray] == [["refused"]]
    assert again[0]["start"] == 2


def test_what_is_heard_is_bounded():
    """A keeper that talks without end while the others are awaited fills no queue, and is hung up on."""

    async def scene():
        launch = Launch()
        keeper = launch.connect(1)
        await settled(lambda: 1 in launch.lead._links)
        for number in range(5000):
            keeper.say({"ended": number, "attempt": 1, "x": "a" * 60})
        await settled(lambda: 1 not in launch.lead._links)
        size = launch.lead._events.qsize()
        await launch.end()
        return size

    assert asyncio.run(scene()) == 0
