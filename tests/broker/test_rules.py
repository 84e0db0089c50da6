"""What our broker promises, told by raw clients. Each story that has a peer's column is run on plain amqtt, too.

There it must fail: amqtt is pinned, and a rule that it came to keep by itself needs no code of ours.
"""

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.wire import topics
from broker.status import ask
from tests.broker.peer import Peer
from tests.broker.raw_client import GOODBYE, RawClient, connect, puback, publish, subscribe
from tests.broker.served import PASSWORDS, TENANT, Served

COMMAND = topics.down(TENANT, "dev-1", "cmd")
REQUEST = topics.up(TENANT, "dev-1", "req")
STATE = topics.up(TENANT, "dev-1", "state")
ROUND = topics.job(TENANT, "j", "round")
EVERYTHING = topics.everything_up(TENANT)[0]
Broker = Served | Peer


@pytest.fixture
def ours(served: Served) -> Served:
    return served


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("plain amqtt", marks=pytest.mark.xfail(strict=True, reason="the rule is ours, not amqtt's")),
    ]
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    made: Broker = Served(tmp_path / "broker") if request.param == "embedded" else Peer()
    yield made
    made.stop()


def come(broker: Broker, client: str, *, clean: bool = True, **more: object) -> RawClient:
    found = RawClient(broker.port)
    assert found.login(client, PASSWORDS[client], clean=clean, **more) == 0
    return found


def heard(sender: RawClient, topic: str, receiver: RawClient) -> None:
    """Wait until a letter goes through: what was said before has been done."""
    sender.send(publish(topic, b"marker", number=60_000))
    found = receiver.letters(1)
    assert [one.payload for one in found] == [b"marker"]


def test_identity_is_bound_before_a_session_is_touched(broker: Broker) -> None:
    aggregator, victim = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    victim.subscribe(COMMAND)
    heard(aggregator, COMMAND, victim)
    for clean in (False, True):
        with RawClient(broker.port) as intruder:
            assert intruder.login("dev-1", "wrong" * 5, clean=clean) in (4, 5)
            assert intruder.letter(0.3) is None
        with RawClient(broker.port) as intruder:
            assert intruder.login("dev-1", PASSWORDS["dev-2"], username="dev-2", clean=clean) in (4, 5)
            assert intruder.letter(0.3) is None
    heard(aggregator, COMMAND, victim)


def test_mqtt_5_is_refused_in_its_own_words_at_once(broker: Broker) -> None:
    with RawClient(broker.port) as client:
        client.send(connect("dev-1", PASSWORDS["dev-1"], level=5))
        assert client.next(3) == (0x20, b"\x00\x84\x00")
        assert client.ended()


def test_what_was_not_acknowledged_is_sent_again(broker: Broker) -> None:
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    device.subscribe(COMMAND)
    for number in range(1, 6):
        aggregator.send(publish(COMMAND, b"%d" % number, number=number))
    first = device.letters(5, acknowledge=False)
    device.vanish()
    again = come(broker, "dev-1", clean=False)
    second = again.letters(5, 3)
    assert [one.payload for one in second] == [b"1", b"2", b"3", b"4", b"5"]
    assert all(one.duplicate for one in second)
    assert [one.number for one in second] == [one.number for one in first]
    again.vanish()
    assert come(broker, "dev-1", clean=False).letter(0.5) is None  # all were acknowledged


def test_what_was_queued_while_away_is_not_called_retained(broker: Broker) -> None:
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    device.subscribe(COMMAND)
    device.send(GOODBYE)
    assert device.ended()
    other = come(broker, "dev-2")
    other.subscribe(ROUND)
    heard(aggregator, ROUND, other)  # by now the broker knows that the device is away
    for number in range(1, 6):
        aggregator.send(publish(COMMAND, b"%d" % number, number=number))
    aggregator.send(publish(COMMAND, b"not kept", qos=0))
    again = come(broker, "dev-1", clean=False)
    found = again.letters(6, 2)
    assert [(one.payload, one.retain) for one in found] == [(b"%d" % number, False) for number in range(1, 6)]


def test_an_acknowledgement_may_come_late(broker: Broker) -> None:
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    device.subscribe(COMMAND)
    aggregator.send(publish(COMMAND, b"slowly"))
    letter = device.letters(1, acknowledge=False)[0]
    assert device.letter(5.5) is None  # the time that passes is the story: nothing else happens
    device.vanish()
    again = come(broker, "dev-1", clean=False)
    assert [one.payload for one in again.letters(1, 3, acknowledge=False)] == [b"slowly"]
    again.send(puback(letter.number))
    heard(aggregator, COMMAND, again)
    again.vanish()
    assert come(broker, "dev-1", clean=False).letter(0.5) is None


def test_a_publication_at_qos_0_stays_at_qos_0(broker: Broker) -> None:
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1")
    device.subscribe(COMMAND)
    aggregator.send(publish(COMMAND, b"hint", qos=0))
    found = device.letter()
    assert found is not None
    assert (found.qos, found.payload) == (0, b"hint")


def test_what_is_retained_comes_to_those_who_subscribe_alone(broker: Broker) -> None:
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1", clean=False)
    device.subscribe(COMMAND)
    aggregator.send(publish(ROUND, b"round 1", retain=True))
    device.vanish()
    other = come(broker, "dev-2")
    assert other.subscribe(ROUND)
    found = other.letters(1)
    assert [(one.payload, one.retain) for one in found] == [(b"round 1", True)]
    assert come(broker, "dev-1", clean=False).letter(1) is None


def test_a_subscription_that_comes_again_is_given_what_is_retained_again(ours: Served) -> None:
    aggregator, device = come(ours, "aggregator"), come(ours, "dev-1")
    for name in ("a", "b"):
        aggregator.send(publish(topics.job(TENANT, name, "round"), name.encode(), retain=True))
    other = come(ours, "dev-2")
    other.subscribe(COMMAND.replace("dev-1", "dev-2"))
    heard(aggregator, COMMAND.replace("dev-1", "dev-2"), other)
    for _ in range(2):
        device.send(subscribe("fl/v1/t/bcast/#"))
        assert {one.payload for one in device.letters(2)} == {b"a", b"b"}
    aggregator.send(publish(topics.job(TENANT, "a", "round"), b"", retain=True))
    assert [one.payload for one in device.letters(1)] == [b""]
    device.send(subscribe(topics.job(TENANT, "+", "round")))
    assert [one.payload for one in device.letters(2, 0.5)] == [b"b"]


def test_a_silent_peer_is_cut_and_its_will_published(broker: Broker) -> None:
    aggregator = come(broker, "aggregator")
    aggregator.subscribe(EVERYTHING)
    device = come(broker, "dev-1", keepalive=1, will=(STATE, b"gone", 1, True))
    heard(device, STATE, aggregator)
    assert [one.payload for one in aggregator.letters(1, 6)] == [b"gone"]
    assert device.ended()
    aggregator.subscribe(STATE)
    assert [(one.payload, one.retain) for one in aggregator.letters(1)] == [(b"gone", True)]


@pytest.mark.parametrize("clean", [False, True])
def test_a_take_over_leaves_one_connection_and_it_hears(broker: Broker, clean: bool) -> None:
    aggregator, old = come(broker, "aggregator"), come(broker, "dev-1", clean=clean)
    old.subscribe(COMMAND)
    new = come(broker, "dev-1", clean=clean)
    assert old.ended()
    if clean:
        new.subscribe(COMMAND)
    heard(aggregator, COMMAND, new)
    assert new.letter(0.3) is None


def test_every_subscriber_hears_all_while_others_come_and_go(ours: Served) -> None:
    aggregator, one, two = come(ours, "aggregator"), come(ours, "dev-1"), come(ours, "dev-2")
    for device in (one, two):
        device.subscribe("fl/v1/t/bcast/#")
    for number in range(1, 601):
        aggregator.send(publish(ROUND, b"%d" % number, number=number))
        if number % 10 == 0:
            two.send(subscribe(topics.job(TENANT, f"j{number}", "model"), number=number))
    wanted = [b"%d" % number for number in range(1, 601)]
    assert [letter.payload for letter in one.letters(600)] == wanted
    found, until = [], time.monotonic() + 10
    while len(found) < 600 and time.monotonic() < until:
        found += two.letters(20, 2)
    assert [letter.payload for letter in found] == wanted


def test_overlapping_filters_bring_a_letter_once(ours: Served) -> None:
    aggregator, device = come(ours, "aggregator"), come(ours, "dev-1")
    device.subscribe(ROUND, "fl/v1/t/bcast/#", topics.job(TENANT, "+", "round"))
    heard(aggregator, ROUND, device)
    assert device.letter(0.3) is None


def test_a_persistent_session_does_not_go_on_with_a_clean_one(broker: Broker) -> None:
    aggregator, clean = come(broker, "aggregator"), come(broker, "dev-1", clean=True)
    clean.subscribe(COMMAND)
    heard(aggregator, COMMAND, clean)
    clean.vanish()
    device = RawClient(broker.port)
    device.send(connect("dev-1", PASSWORDS["dev-1"], clean=False))
    assert device.next() == (0x20, b"\0\0")  # no session is present
    device.subscribe(COMMAND)
    device.vanish()
    aggregator.send(publish(COMMAND, b"kept"))
    again = come(broker, "dev-1", clean=False)
    assert [one.payload for one in again.letters(1, 3)] == [b"kept"]


def test_a_will_that_is_to_be_kept_is_kept_after_one_that_was_not(broker: Broker) -> None:
    aggregator = come(broker, "aggregator")
    aggregator.subscribe(EVERYTHING)
    for retain in (False, True):
        device = come(broker, "dev-1", clean=False, will=(STATE, b"gone", 1, retain))
        heard(device, REQUEST, aggregator)
        device.vanish()
        assert [one.payload for one in aggregator.letters(1)] == [b"gone"]
    aggregator.subscribe(STATE)
    assert [(one.payload, one.retain) for one in aggregator.letters(1, 3)] == [(b"gone", True)]


def test_a_goodbye_publishes_no_will(ours: Served) -> None:
    aggregator = come(ours, "aggregator")
    aggregator.subscribe(EVERYTHING)
    device = come(ours, "dev-1", will=(STATE, b"gone", 1, True))
    device.send(GOODBYE)
    assert device.ended()
    other = come(ours, "dev-2")
    heard(other, topics.up(TENANT, "dev-2", "req"), aggregator)


def test_who_goes_while_it_comes_is_gone(ours: Served) -> None:
    aggregator, state = come(ours, "aggregator"), topics.up(TENANT, "dev-1", "state")
    aggregator.subscribe(state)
    for last in (b"\xf0\x00", GOODBYE, b"\xf0\x00", GOODBYE):
        with RawClient(ours.port) as device:
            device.send(connect("dev-1", PASSWORDS["dev-1"], clean=False, will=(state, b"gone", 1, False)) + last)
            assert device.ended()
        if last != GOODBYE:
            assert [one.payload for one in aggregator.letters(1, 5)] == [b"gone"]
    assert aggregator.letter(0.3) is None
    assert ask(ours.state)["clients"] == 1


def test_no_payload_is_formatted_on_its_way(broker: Broker) -> None:
    """Written out for a log, a payload of noughts is four times as long."""
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1")
    device.subscribe(ROUND)
    heard(aggregator, ROUND, device)
    assert aggregator.next() == (0x40, b"\xea\x60")
    size = 1 << 20
    letter = publish(ROUND, bytes(size))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        aggregator.send(letter)
        assert aggregator.next() == (0x40, b"\0\1")
        found = device.letters(1)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(found[0].payload) == size
    assert peak < 7 * size, peak / size
