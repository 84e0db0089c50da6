"""Sessions that are kept while their client is away, and taken over when it comes back."""

from brokers_under_test import BrokerUnderTest
from raw_client import publish

from accord.wire import topics
from tests.waiting import until

COMMAND = topics.down("t", "dev-1", "cmd")
SENT = [b"%d" % number for number in range(5)]


def say(broker: BrokerUnderTest, payloads: list[bytes] = SENT) -> None:
    """Let the aggregator publish, and wait until the broker has it all."""
    aggregator = broker.raw("aggregator")
    for number, payload in enumerate(payloads, 1):
        aggregator.send(publish(COMMAND, payload, number=number))
        assert aggregator.next() == (0x40, number.to_bytes(2, "big"))


def test_letters_wait_for_a_client_that_is_away(broker: BrokerUnderTest) -> None:
    device = broker.raw("dev-1", clean=False)
    assert not device.present
    device.subscribe(COMMAND)
    device.vanish()
    say(broker)
    device = broker.raw("dev-1", clean=False)
    assert device.present
    assert [letter.payload for letter in device.letters(5, 15)] == SENT


def test_letters_that_waited_are_not_marked_as_retained(broker: BrokerUnderTest) -> None:
    device = broker.raw("dev-1", clean=False)
    device.subscribe(COMMAND)
    device.vanish()
    say(broker)
    device = broker.raw("dev-1", clean=False)
    found = device.letters(5, 15)
    assert len(found) == 5
    assert not any(letter.retain for letter in found)


def test_a_kept_session_goes_on_without_subscribing_again(broker: BrokerUnderTest) -> None:
    device = broker.raw("dev-1", clean=False)
    device.subscribe(COMMAND)
    for _ in range(3):
        device.vanish()
        device = broker.raw("dev-1", clean=False)
        assert device.present
        say(broker, [b"still"])
        assert [letter.payload for letter in device.letters(1)] == [b"still"]
    device = broker.raw("dev-1", clean=True)
    assert not device.present
    say(broker, [b"nobody"])
    assert device.letters(1, 0.5) == [], "a clean session has forgotten"


def test_a_take_over_leaves_the_new_connection_hearing(broker: BrokerUnderTest) -> None:
    for clean in (True, False):
        old = broker.raw("dev-1", clean=clean)
        old.subscribe(COMMAND)
        new = broker.raw("dev-1", clean=clean)
        assert new.code == 0
        assert old.ended()
        new.subscribe(COMMAND)
        say(broker, [b"once"])
        assert [letter.payload for letter in new.letters(1)] == [b"once"]
        assert new.letters(1, 0.3) == []
        new.vanish()


def test_a_kept_session_outlives_the_broker(broker: BrokerUnderTest) -> None:
    device = broker.raw("dev-1", clean=False)
    device.subscribe(COMMAND)
    device.vanish()
    say(broker)
    broker.stop()
    broker.start()
    until(lambda: broker.raw("dev-2").code == 0, "it takes logins again", 30)
    device = broker.raw("dev-1", clean=False)
    assert device.present
    assert [letter.payload for letter in device.letters(5, 15)] == SENT
