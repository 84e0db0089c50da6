"""The broker in memory: it carries what the rules allow, and misbehaves exactly as told."""

import pytest

from accord.entropy import SeededEntropy
from accord.errors import LocalProtocolError, UsageError
from accord.link import Delivery, LinkError
from accord.link.memory import Faults, MemoryBroker
from accord.link.port import Will
from accord.wire import topics

ROUND = topics.job("t", "j", "round")
REQUEST = topics.up("t", "dev-1", "req")


def pair(**faults: float) -> tuple[MemoryBroker, list[bytes]]:
    """Send a hundred numbered messages from a device to the aggregator and return what arrived."""
    broker = MemoryBroker("t", SeededEntropy(3), Faults(**faults))
    device, aggregator = broker.connect("dev-1"), broker.connect("aggregator")
    aggregator.subscribe("fl/v1/t/dev/+/up/#")
    for number in range(100):
        device.publish(REQUEST, bytes([number]))
    broker.advance(1000)
    found = []
    while (delivery := aggregator.receive(0)) is not None:
        found.append(delivery.payload)
    return broker, found


def test_a_broker_that_behaves_keeps_all_in_order() -> None:
    assert pair()[1] == [bytes([n]) for n in range(100)]


def test_faults_are_as_told() -> None:
    everything = [bytes([n]) for n in range(100)]
    assert 50 < len(pair(drop=0.3)[1]) < 90
    doubled = pair(duplicate=0.3)[1]
    assert len(doubled) > 110
    assert sorted(set(doubled)) == everything
    for faults in ({"reorder": 0.3}, {"delay": 5.0}):
        found = pair(**faults)[1]
        assert found != everything
        assert sorted(found) == everything


def test_delayed_messages_wait_for_the_clock() -> None:
    broker = MemoryBroker("t", SeededEntropy(1), Faults(delay=10))
    link = broker.connect("dev-1")
    link.subscribe(ROUND)
    broker.connect("aggregator").publish(ROUND, b"x")
    arrival = broker.next_arrival
    assert link.receive(0) is None
    assert arrival is not None
    broker.advance(arrival)
    assert link.receive(0) == Delivery(topic=ROUND, payload=b"x")


def test_retained_wills_and_take_over() -> None:
    broker = MemoryBroker("t", SeededEntropy(1))
    aggregator = broker.connect("aggregator")
    aggregator.publish(ROUND, b"1", retain=True)
    aggregator.publish(ROUND, b"2", retain=True)
    state = topics.up("t", "dev-1", "state")
    aggregator.subscribe("fl/v1/t/dev/+/up/#")
    device = broker.connect("dev-1", Will(topic=state, payload=b"gone"))
    device.subscribe(ROUND)
    assert device.receive(0) == Delivery(topic=ROUND, payload=b"2", retained=True)
    device.die()
    assert aggregator.receive(0) == Delivery(topic=state, payload=b"gone")
    with pytest.raises(LinkError):
        device.publish(REQUEST, b"x")
    orderly = broker.connect("dev-1", Will(topic=state, payload=b"gone"))
    again = broker.connect("dev-1")
    assert not orderly.connected
    again.subscribe(ROUND)
    assert again.receive(0) is not None
    again.unsubscribe(ROUND)
    aggregator.publish(ROUND, b"3")
    assert again.receive(0) is None
    assert aggregator.receive(0) is None
    aggregator.publish(ROUND, b"", retain=True)
    again.subscribe(ROUND)
    assert again.receive(0) is None


def test_rules_hold_and_bytes_are_counted() -> None:
    broker = MemoryBroker("t", SeededEntropy(1))
    one, two = broker.connect("dev-1"), broker.connect("dev-2")
    two.subscribe(topics.down("t", "dev-1", "cmd"))
    two.subscribe(ROUND)
    one.publish(ROUND, b"forged")
    broker.connect("aggregator").publish(topics.down("t", "dev-1", "cmd"), b"secret")
    assert two.receive(0) is None
    assert (one.bytes_up, two.bytes_down) == (len(ROUND) + 6, 0)
    with pytest.raises(LocalProtocolError):
        one.publish(REQUEST, b"", qos=2)
    with pytest.raises(LocalProtocolError):
        one.subscribe(ROUND, qos=2)
    with pytest.raises(UsageError):
        Faults(drop=2)
