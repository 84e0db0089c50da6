"""Who hears and writes what: the same grants at every broker, whatever the client asks for."""

from brokers_under_test import BrokerUnderTest
from raw_client import publish, subscribe

from accord.wire import topics

REQUEST = topics.up("t", "dev-1", "req")
STATE = topics.up("t", "dev-1", "state")
COMMAND = topics.down("t", "dev-1", "cmd")
ROUND = topics.job("t", "j", "round")
OWN = topics.up("t", "dev-2", "req")
EVERYTHING = "fl/v1/t/dev/+/up/#"
FOREIGN = (
    "#",
    "+/#",
    "fl/#",
    "fl/v1/+/bcast/#",
    "fl/v1/t/#",
    EVERYTHING,
    "fl/v1/t/dev/dev-1/#",
    COMMAND,
    "fl/v1/t/dev/+/down/cmd",
    "$MQTT/#",
    "$MQTT/sub/+",
    "$JS/#",
    "$CONTROL/#",
    "$SYS/#",
    "$share/g/fl/v1/t/dev/+/up/#",
)


def test_topic_rules_hold_for_both_directions(broker: BrokerUnderTest) -> None:
    aggregator, one, two = broker.raw("aggregator"), broker.raw("dev-1"), broker.raw("dev-2")
    assert aggregator.subscribe(EVERYTHING) == b"\x01"
    assert one.subscribe(COMMAND) == b"\x01"
    for topic_filter in FOREIGN:
        spy = broker.raw("dev-2", clean=False)
        spy.send(subscribe(topic_filter))
        aggregator.send(publish(COMMAND, b"secret"))
        assert [letter.payload for letter in one.letters(1)] == [b"secret"]
        one.send(publish(REQUEST, b"private"))
        assert [letter.payload for letter in aggregator.letters(1)] == [b"private"]
        assert spy.letters(1, 0.2) == [], topic_filter
        spy.vanish()
    two = broker.raw("dev-2")
    for topic in (
        REQUEST,
        STATE,
        ROUND,
        COMMAND,
        topics.aggregator_state("t"),
        topics.roles("t"),
        "elsewhere",
        "$SYS/x",
    ):
        two.send(publish(topic, b"forged", qos=0))
        two.send(publish(topic, b"forged", number=3))
        if two.ended(0.1):
            two = broker.raw("dev-2")
    two = broker.raw("dev-2")
    two.send(publish(OWN, b"own"))
    assert [(letter.topic, letter.payload) for letter in aggregator.letters(1)] == [(OWN, b"own")]
    assert aggregator.letters(1, 0.3) == []
    assert one.letters(1, 0.1) == []


def test_a_forged_publication_changes_nothing(broker: BrokerUnderTest) -> None:
    aggregator = broker.raw("aggregator")
    aggregator.send(publish(ROUND, b"true", retain=True))
    assert aggregator.next() is not None
    aggregator.subscribe(EVERYTHING)
    hearing = broker.raw("dev-1")
    hearing.subscribe("fl/v1/t/bcast/#")
    assert [letter.payload for letter in hearing.letters(1)] == [b"true"]
    for payload in (b"forged", b""):
        forger = broker.raw("dev-2")
        forger.send(publish(ROUND, payload, retain=True))
        forger.send(publish(topics.roles("t"), payload, retain=True))
        forger.send(publish(STATE, payload, retain=True))
        forger.ended(0.3)
    for topic in (ROUND, STATE):
        forger = broker.raw("dev-2", will=(topic, b"forged", 1, True))
        forger.vanish()
    later = broker.raw("dev-2")
    later.subscribe("fl/v1/t/bcast/#")
    assert [letter.payload for letter in later.letters(2, 0.5)] == [b"true"]
    assert hearing.letters(1, 0.2) == []
    assert aggregator.letters(1, 0.2) == []
