"""What one client may cost the others: packets that are too large, readers that do not read, foreign versions."""

from brokers_under_test import BrokerUnderTest
from raw_client import RawClient, connect, publish

from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from tests.waiting import until

REQUEST = topics.up("t", "dev-1", "req")
COMMAND = topics.down("t", "dev-1", "cmd")
OTHER = topics.down("t", "dev-2", "cmd")
EVERYTHING = "fl/v1/t/dev/+/up/#"
MEMORY = 128 << 20
"""Bytes that one stuck reader may cost a broker, whatever is sent to it."""


def test_a_packet_that_is_too_large_costs_its_sender_alone(broker: BrokerUnderTest) -> None:
    aggregator, other = broker.raw("aggregator"), broker.raw("dev-2")
    aggregator.subscribe(EVERYTHING)
    sender = broker.raw("dev-1")
    sender.send(publish(REQUEST, bytes(LARGEST_PAYLOAD)))
    assert [len(letter.payload) for letter in aggregator.letters(1)] == [LARGEST_PAYLOAD]
    try:
        sender.send(publish(REQUEST, bytes(2 * LARGEST_PAYLOAD), number=2))
        assert sender.ended()
    except (BrokenPipeError, ConnectionResetError):
        pass
    other.send(publish(topics.up("t", "dev-2", "req"), b"after"))
    assert [letter.payload for letter in aggregator.letters(1)] == [b"after"]


def test_a_subscriber_that_does_not_read_is_bounded(broker: BrokerUnderTest) -> None:
    stuck, reader = broker.raw("dev-1", receive_buffer=4_096, keepalive=600), broker.raw("dev-2")
    stuck.subscribe(COMMAND)
    reader.subscribe(OTHER)
    aggregator = broker.raw("aggregator")
    before, largest = broker.memory, 0
    for number in range(1, 4_001):  # 250 MiB for one that does not read
        aggregator.send(publish(COMMAND, bytes(65_000), number=number))
        assert aggregator.next(30) == (0x40, number.to_bytes(2, "big"))
        if number % 100 == 0:
            aggregator.send(publish(OTHER, b"%d" % number, number=1))
            assert [letter.payload for letter in reader.letters(1, 30)] == [b"%d" % number]
            assert aggregator.next(30) == (0x40, b"\x00\x01")
            largest = max(largest, broker.memory - before)
    assert largest < MEMORY, f"{largest >> 20} MiB"


def test_a_refused_subscription_is_told(broker: BrokerUnderTest) -> None:
    device = broker.raw("dev-2")
    assert device.subscribe(COMMAND) == b"\x80"
    assert device.subscribe("#") == b"\x80"
    assert device.subscribe(OTHER) == b"\x01"


def test_mqtt_5_is_answered_at_once(broker: BrokerUnderTest) -> None:
    with RawClient(broker.port) as client:
        client.send(connect(broker.client_id("dev-1"), "b" * 20, username="dev-1", level=5))
        found = client.next(3)
        assert found is not None, "no answer"
        assert found[0] == 0x20
        if found[1][1]:
            assert client.ended(3), "what is refused is ended"
    until(lambda: broker.raw("dev-1").code == 0, "3.1.1 goes on")
