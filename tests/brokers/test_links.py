"""What every broker must do for a link: letters both ways, restarts and orderly ends."""

import pytest
from brokers_under_test import BrokerUnderTest

from accord.link import Delivery, LinkError
from accord.link.mqtt import MqttLink
from accord.wire import topics
from tests.waiting import received, until, until_heard

REQUEST = topics.up("t", "dev-1", "req")
COMMAND = topics.down("t", "dev-1", "cmd")
STATE = topics.up("t", "dev-1", "state")
EVERYTHING = "fl/v1/t/dev/+/up/#"


def ready(link: MqttLink, topic_filter: str, sender: MqttLink, topic: str) -> None:
    """Wait until a subscription works, by sending markers through it."""
    link.subscribe(topic_filter)
    until_heard(lambda: sender.publish(topic, b"marker"), link, b"marker")


def test_letters_go_both_ways_in_order_and_large(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.link("aggregator"), broker.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    ready(device, COMMAND, aggregator, COMMAND)
    sent = [number.to_bytes(2, "big") * 30_000 for number in range(100)]
    for payload in sent:
        device.publish(REQUEST, payload)
    assert [found.payload for _ in sent if (found := aggregator.receive(10))] == sent
    aggregator.publish(COMMAND, b"plan")
    assert device.receive(10) == Delivery(topic=COMMAND, payload=b"plan")
    assert device.bytes_up > 100 * 60_000
    with pytest.raises(LinkError, match="in pieces"):
        device.publish(REQUEST, bytes((1 << 20) + 1))


def test_a_restarted_broker_is_found_again(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.link("aggregator"), broker.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    broker.stop()
    until(lambda: not device.connected and not aggregator.connected, "the links notice")
    device.publish(STATE, b"queued", retain=True)
    broker.start()
    until(lambda: aggregator.connections == 2 and device.connections == 2, "the links come back", 60)
    found = received(aggregator, 20)  # by the old subscription, now or as a retained letter
    assert (found.topic, found.payload) == (STATE, b"queued")


def test_closing_loses_nothing(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.link("aggregator"), broker.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    sent = [number.to_bytes(2, "big") * 20_000 for number in range(100)]
    for payload in sent:
        device.publish(REQUEST, payload)
    device.close()
    assert [found.payload for _ in sent if (found := aggregator.receive(10))] == sent
