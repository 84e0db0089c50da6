"""What waits for a reader, here or away: bounds for one and for all, and room for those who do not flood."""

import asyncio
import time
from collections.abc import Callable

import pytest

from accord.wire import topics
from broker.attempts import Attempts
from broker.config import Limits
from broker.outbox import Letter, Outbox, Traffic
from broker.status import ask
from tests.broker.raw_client import packet, publish
from tests.broker.served import TENANT, Served, come, reads
from tests.waiting import until

COMMAND = topics.down(TENANT, "dev-1", "cmd")
REQUEST = topics.up(TENANT, "dev-1", "req")
ROUND = topics.job(TENANT, "j", "round")
Serve = Callable[..., Served]


def test_a_stuck_reader_takes_its_bound_and_no_more_and_nobody_else_waits(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    bound = 1 << 20
    broker = serve(limits=Limits(waiting=bound))
    aggregator, other = come(broker, "aggregator"), come(broker, "dev-2")
    stuck = come(broker, "dev-1", receive_buffer=4_096)
    for device in (stuck, other):
        device.subscribe("fl/v1/t/bcast/#")
    for number in range(1, 301):
        aggregator.send(publish(ROUND, number.to_bytes(2, "big") * 16_384, number=number))
        assert other.letters(1)[0].payload[:2] == number.to_bytes(2, "big")
    found = ask(broker.state)
    assert 0 < found["waiting"]["dev-1"] <= bound
    assert found["dropped"] > 100
    assert found["refused"]["slow"] == found["dropped"]
    assert "slow: dev-1 reads too slowly: a letter of" in caplog.text
    kept = stuck.letters(5)
    assert [one.payload[:2] for one in kept] == [number.to_bytes(2, "big") for number in range(1, 6)]


def test_letters_of_qos_0_leave_room_for_the_others(serve: Serve) -> None:
    broker = serve(limits=Limits(waiting=1 << 20, in_flight=1))
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1")
    device.subscribe(ROUND)
    aggregator.send(publish(ROUND, b"first", number=1))
    assert device.letters(1, acknowledge=False)[0].payload == b"first"
    aggregator.send(publish(ROUND, b"second", number=3))  # this and the next ones wait for its acknowledgement
    for _ in range(40):
        aggregator.send(publish(ROUND, bytes(32_768), qos=0))
    aggregator.send(publish(ROUND, b"last", number=2))
    reads(aggregator)
    device.send(packet(0x40, b"\0\1"))
    found = device.letters(40, 1)
    assert (found[0].payload, found[-1].payload) == (b"second", b"last")
    assert 10 < len(found) < 20


def test_what_is_kept_for_one_that_is_away_is_bounded_in_bytes(serve: Serve) -> None:
    broker = serve(limits=Limits(offline=100_000))
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    device.subscribe(COMMAND)
    device.vanish()
    until(lambda: ask(broker.state)["clients"] == 1, "the broker knows that the device is away")
    for number in range(1, 21):
        aggregator.send(publish(COMMAND, bytes([number]) * 10_000, number=number))
    reads(aggregator)
    assert ask(broker.state)["waiting_bytes"] <= 100_000
    again = come(broker, "dev-1", clean=False)
    assert [one.payload[0] for one in again.letters(20, 1)] == list(range(1, 10))
    assert again.subscribe(ROUND)
    until(lambda: ask(broker.state)["waiting_bytes"] == 0, "nothing waits")


def test_one_device_cannot_fill_the_room_of_all_at_the_aggregator(serve: Serve) -> None:
    broker = serve(limits=Limits(waiting=1 << 20))
    aggregator = come(broker, "aggregator", receive_buffer=4_096)
    aggregator.subscribe(topics.everything_up(TENANT)[0])
    flood, other = come(broker, "dev-1"), come(broker, "dev-2")
    flood._socket.settimeout(0.2)
    with pytest.raises(TimeoutError):  # it is made to wait: nobody reads
        flood.send(publish(REQUEST, bytes(20_000), qos=0) * 2_000)
    other.send(publish(topics.up(TENANT, "dev-2", "req"), b"one of mine"))
    assert other.next() == (0x40, b"\0\1")
    payloads: list[bytes] = []
    while b"one of mine" not in payloads:
        payloads += [one.payload for one in aggregator.letters(1)]
    assert ask(broker.state)["clients"] == 3


def test_what_waits_for_those_who_are_away_has_one_bound_for_all() -> None:
    async def story() -> None:
        traffic, limits = Traffic(), Limits(all_waiting=1_000)
        boxes = [Outbox(f"dev-{n}", limits, traffic, Attempts(time.monotonic), time.monotonic) for n in range(5)]
        for box in boxes:
            box.keeps = True
            box.offer(Letter("aggregator", "t", bytes(400)), 1)
        assert [len(box) for box in boxes] == [1, 1, 0, 0, 0]
        assert traffic.waiting <= 1_000

    asyncio.run(story())


def room(limits: Limits, senders: int, size: int) -> Outbox:
    """What waits for a reader that is stuck when so many devices send all that they can."""

    class Wire:
        buffered = 1 << 30

        async def drain(self) -> None:
            await asyncio.Event().wait()

    box = Outbox("aggregator", limits, Traffic(), Attempts(time.monotonic), time.monotonic)
    box.attach(Wire(), keeps=True)  # type: ignore[arg-type]
    for _ in range(limits.waiting // size):
        for number in range(senders):
            box.offer(Letter(f"dev-{number}", "t", bytes(size)), 1)
    return box


@pytest.mark.parametrize("senders", [1, 4, 40, 400])
def test_devices_that_collude_leave_room_for_the_others_at_the_aggregator(senders: int) -> None:
    async def story() -> None:
        limits = Limits(waiting=4 << 20)
        box = room(limits, senders, 1_000)
        left = limits.waiting - box.waiting
        assert left > limits.waiting / (1 + senders / 3) * 0.9, "a share for each, and one that is nobody's"
        before = len(box)
        for number in range(3):
            box.offer(Letter("honest", "t", b"%d" % number), 1)
        assert len(box) == before + 3
        box.offer(Letter("aggregator", "t", bytes(left // 2)), 1)
        assert len(box) == before + 4, "the aggregator's own letters have all of it"

    asyncio.run(story())


def test_a_fleet_that_sends_all_at_once_waits_for_a_reader_that_reads(serve: Serve) -> None:
    broker = serve(limits=Limits(waiting=1 << 18, in_flight=8))
    aggregator, one, two = come(broker, "aggregator"), come(broker, "dev-1"), come(broker, "dev-2")
    aggregator.subscribe(topics.everything_up(TENANT)[0])
    for number in range(1, 31):
        for name, device in (("dev-1", one), ("dev-2", two)):
            device.send(publish(topics.up(TENANT, name, "req"), bytes([number]) * 20_000, number=number))
    found = aggregator.letters(60, 30)
    for name in ("dev-1", "dev-2"):
        own = [letter.payload[0] for letter in found if letter.topic == topics.up(TENANT, name, "req")]
        assert own == list(range(1, 31))
    assert ask(broker.state)["dropped"] == 0


def test_packet_ids_of_letters_on_their_way_are_not_given_again() -> None:
    class Wire:
        buffered = 0

        def write_all(self, *_parts: bytes) -> None:
            pass

    async def story() -> None:
        limits = Limits(in_flight=3)
        box = Outbox("dev-1", limits, Traffic(), Attempts(time.monotonic), time.monotonic)
        box.attach(Wire(), keeps=True)  # type: ignore[arg-type]
        for _ in range(3):
            box.offer(Letter("aggregator", "t", b""), 1)
        box.acknowledged(2)
        for _ in range(70_000):
            box.offer(Letter("aggregator", "t", b""), 1)
            box.acknowledged(next(reversed(box._sent)))
        assert {1, 3} <= set(box._sent)
        for number in tuple(box._sent):
            box.acknowledged(number)
        box.acknowledged(9)
        assert (len(box), box.waiting, box._numbers) == (0, 0, set())

    asyncio.run(story())
