"""Letters at QoS 1: nothing is lost between a client that has acknowledged and one that has not."""

import time

from brokers_under_test import BrokerUnderTest
from raw_client import PING, PONG, puback, publish

from accord.wire import topics

REQUEST = topics.up("t", "dev-1", "req")
COMMAND = topics.down("t", "dev-1", "cmd")
EVERYTHING = "fl/v1/t/dev/+/up/#"
LONGEST = 15.0
"""Seconds in which a broker sends again what was not acknowledged."""


def test_an_unacknowledged_letter_comes_again(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.raw("aggregator"), broker.raw("dev-1", clean=False)
    device.subscribe(COMMAND)
    sent = [b"%d" % number for number in range(5)]
    for number, payload in enumerate(sent, 1):
        aggregator.send(publish(COMMAND, payload, number=number))
    assert [letter.payload for letter in device.letters(5, acknowledge=False)] == sent
    device.vanish()
    device = broker.raw("dev-1", clean=False)
    again = device.letters(5, LONGEST)
    assert sorted(letter.payload for letter in again) == sent
    assert all(letter.duplicate for letter in again)
    device.send(PING)
    assert device.next() == PONG, "what was sent before has been read"
    device.vanish()
    device = broker.raw("dev-1", clean=False)
    assert device.letters(1, 0.5) == [], "what was acknowledged does not come again"


def test_a_late_acknowledgement_counts(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.raw("aggregator"), broker.raw("dev-1", clean=False)
    device.subscribe(COMMAND)
    for number in (1, 2):
        aggregator.send(publish(COMMAND, b"%d" % number, number=number))
    first, _second = device.letters(2, acknowledge=False)
    end = time.monotonic() + 10
    while time.monotonic() < end:  # some brokers send it again meanwhile
        device.letters(1, end - time.monotonic(), acknowledge=False)
    device.send(puback(first.number))
    aggregator.send(publish(COMMAND, b"3", number=3))  # the acknowledgement has come when this does
    while device.letters(1, acknowledge=False)[0].payload != b"3":
        pass
    device.vanish()
    device = broker.raw("dev-1", clean=False)
    again = {letter.payload for letter in device.letters(2, LONGEST)}
    assert again == {b"2", b"3"}


def test_what_was_sent_at_qos_0_comes_at_qos_0(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.raw("aggregator"), broker.raw("dev-1")
    device.subscribe(COMMAND)
    aggregator.send(publish(COMMAND, b"light", qos=0))
    aggregator.send(publish(COMMAND, b"sure"))
    assert {(letter.payload, letter.qos) for letter in device.letters(2)} == {(b"light", 0), (b"sure", 1)}


def test_a_name_may_have_a_dot(broker: BrokerUnderTest) -> None:
    aggregator, device = broker.raw("aggregator"), broker.raw("dev.3")
    assert device.code == 0
    aggregator.subscribe(EVERYTHING)
    device.send(publish(topics.up("t", "dev.3", "req"), b"here"))
    assert [letter.payload for letter in aggregator.letters(1)] == [b"here"]
