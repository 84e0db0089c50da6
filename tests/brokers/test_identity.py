"""Who somebody is at a broker: settled before a session is touched."""

import contextlib

from brokers_under_test import BrokerUnderTest, Session
from raw_client import publish, subscribe

from accord.wire import topics
from tests.waiting import until

REQUEST = topics.up("t", "dev-1", "req")
COMMAND = topics.down("t", "dev-1", "cmd")


def one_waits(broker: BrokerUnderTest) -> Session:
    """A device is away, and a letter waits in its session; return the aggregator."""
    away = broker.raw("dev-1", clean=False)
    away.subscribe(COMMAND)
    away.vanish()
    aggregator = broker.raw("aggregator")
    aggregator.send(publish(COMMAND, b"waits", number=1))
    assert aggregator.next() is not None
    return aggregator


def it_still_waits(broker: BrokerUnderTest) -> Session:
    """The device comes back to its session and its letter; return it."""
    back = broker.raw("dev-1", clean=False)
    assert back.present
    assert [letter.payload for letter in back.letters(1, 15)] == [b"waits"]
    return back


def test_a_neighbour_with_its_own_login_touches_no_session(broker: BrokerUnderTest) -> None:
    aggregator = one_waits(broker)
    guesses = ("dev-1", f"dev-1-{'0' * 32}")
    for shown in guesses:
        for clean in (False, True):
            intruder = broker.raw("dev-2", as_session_of=shown, clean=clean)
            heard = [] if intruder.code else intruder.letters(1, 0.5)
            assert heard == []
            intruder.vanish()
    back = it_still_waits(broker)
    for shown in guesses:  # and now while the victim is connected
        intruder = broker.raw("dev-2", as_session_of=shown)
        aggregator.send(publish(COMMAND, shown.encode(), number=2))
        assert [letter.payload for letter in back.letters(1)] == [shown.encode()]
        assert intruder.code or intruder.letters(1, 0.5) == []
        intruder.vanish()
    assert not back.ended(0.5)


def test_a_wrong_password_touches_no_session(broker: BrokerUnderTest) -> None:
    one_waits(broker)
    name = broker.client_id("dev-1")  # even one who knows it
    for clean in (False, True):
        stranger = broker.raw("dev-1", as_session_of=name, password="wrong" * 4, clean=clean)
        assert stranger.code != 0
        assert stranger.ended()
    it_still_waits(broker)


def test_a_client_that_is_taken_out_is_cut(broker: BrokerUnderTest) -> None:
    stays, goes = broker.raw("dev-2"), broker.raw("dev-1", clean=False)
    assert (stays.code, goes.code) == (0, 0)
    broker.revoke("dev-1")
    assert goes.ended(10)
    until(lambda: broker.raw("dev-1", clean=False).code != 0, "it can't log in again")
    assert not stays.ended(0.5)
    assert broker.raw("aggregator").code == 0


def test_a_certificate_names_its_client(broker: BrokerUnderTest) -> None:
    aggregator, victim = broker.raw("aggregator"), broker.raw("dev-1")
    aggregator.subscribe("fl/v1/t/dev/+/up/#")
    assert victim.subscribe(COMMAND) == b"\x01"
    thief = broker.raw("dev-1", shows="dev-2")  # it says the name, the password and the client id of dev-1
    if thief.code == 0:  # it came in as itself
        with contextlib.suppress(OSError):
            thief.send(subscribe(COMMAND))
            thief.send(publish(REQUEST, b"forged"))
    aggregator.send(publish(COMMAND, b"secret"))
    victim.send(publish(REQUEST, b"true"))
    assert [letter.payload for letter in victim.letters(1)] == [b"secret"]
    assert [letter.payload for letter in aggregator.letters(2, 1)] == [b"true"]
    assert thief.code or thief.letters(1, 0.3) == []
    assert not victim.ended(0.3)


def test_a_client_id_that_is_not_the_certificates_name_opens_no_session(broker: BrokerUnderTest) -> None:
    one_waits(broker)
    for clean in (False, True):
        intruder = broker.raw("dev-2", as_session_of=broker.client_id("dev-1"), clean=clean)  # that it came to know
        assert intruder.code or intruder.letters(1, 0.5) == []
        intruder.vanish()
    back = it_still_waits(broker)
    intruder = broker.raw("dev-2", as_session_of=broker.client_id("dev-1"))
    assert not back.ended(0.5)
    assert intruder.code or intruder.letters(1, 0.3) == []
