"""Connections of one client that come while older ones are still there: one at a time touches its session."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from accord.wire import topics
from broker import front_door, service
from broker.credentials import remove
from broker.exchange import Exchange
from broker.gate import Gate
from broker.status import ask
from broker.wire import Wire
from tests.broker.raw_client import RawClient, connect, publish
from tests.broker.served import PASSWORDS, TENANT, Served, come
from tests.waiting import until

COMMAND = topics.down(TENANT, "dev-1", "cmd")
Serve = Callable[..., Served]


class Slow(Exchange):
    """An exchange in which the end of one client's first connection takes as long as the test wants."""

    released: asyncio.Event
    served: Counter[str]
    most: Counter[str]
    first = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        Slow.released, Slow.served, Slow.most, Slow.first = asyncio.Event(), Counter(), Counter(), True

    async def serve(self, gate: Gate, wire: Wire) -> None:
        client = gate.connect.client
        self.served[client] += 1
        self.most[client] = max(self.most[client], self.served[client])
        held, Slow.first = self.first and client == "dev-1", self.first and client != "dev-1"
        try:
            await super().serve(gate, wire)
        finally:
            while held and not self.released.is_set():
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    continue
            self.served[client] -= 1


@pytest.fixture
def broker(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(service, "Exchange", Slow)
    monkeypatch.setattr(front_door, "GOODBYE", 0.5)
    found = serve()
    yield found
    release(found)


def release(broker: Served) -> None:
    broker._loop.call_soon_threadsafe(Slow.released.set)


def test_a_take_over_of_a_take_over_waits_for_the_first(broker: Served, caplog: pytest.LogCaptureFixture) -> None:
    first = come(broker, "dev-1", clean=False)
    first.subscribe(COMMAND)
    second, third = RawClient(broker.port), RawClient(broker.port)
    for one in (second, third):
        one.send(connect("dev-1", PASSWORDS["dev-1"], clean=False))
    assert second.ended()
    assert third.ended(), "nobody touches the session while the first connection is in it"
    assert "an older connection of dev-1 does not end" in caplog.text
    assert Slow.most["dev-1"] == 1
    fourth = RawClient(broker.port)
    fourth.send(connect("dev-1", PASSWORDS["dev-1"], clean=False))
    assert fourth.next(0.2) is None
    release(broker)
    assert fourth.next() == (0x20, b"\1\0"), "the session goes on"
    assert Slow.most["dev-1"] == 1
    come(broker, "aggregator").send(publish(COMMAND, b"plan"))
    assert [one.payload for one in fourth.letters(1)] == [b"plan"]


def test_one_that_does_not_end_keeps_nobody_elses_session(broker: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stuck, other, away = (
        come(broker, "dev-1", clean=False),
        come(broker, "dev-2"),
        come(broker, "aggregator", clean=False),
    )
    away.vanish()
    until(lambda: ask(broker.state)["clients"] == 2, "the aggregator is away, and its session is kept")
    remove(broker.clients, ["dev-1", "dev-2", "aggregator"])
    assert stuck.ended()
    assert other.ended()
    until(lambda: ask(broker.state)["sessions"] == 1, "the others are forgotten", 5)
    assert not Slow.released.is_set()
    release(broker)
    until(lambda: ask(broker.state)["sessions"] == 0, "and then it is, too")
