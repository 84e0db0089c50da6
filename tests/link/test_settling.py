"""What a link acknowledges where its owner says so: what was dealt with, in order, on the connection it came by."""

import queue
import socket
import threading

import pytest
from scripted_broker import ACCEPTED, ScriptedBroker, frame

from accord.link.mqtt import MqttLink
from tests.waiting import received, until

GOODBYE = 0xE0
UNMARKED = b"\x30\x05\x00\x01ahi"
"""A PUBLISH of QoS 0, which is not acknowledged."""
AGAIN = b"\x20\x02\x01\x00"
"""CONNACK of a session that was kept."""


def letter(number: int, payload: bytes, *, again: bool = False) -> bytes:
    """A PUBLISH of QoS 1 to topic `a`."""
    return bytes([0x3A if again else 0x32, 5 + len(payload), 0, 1]) + b"a" + number.to_bytes(2, "big") + payload


class Told:
    """What a link has said after its login: numbers of PUBACKs, and first bytes of what else it said."""

    def __init__(self) -> None:
        self._heard: queue.Queue[tuple[int, bytes]] = queue.Queue()

    def listen(self, client: socket.socket) -> None:
        while True:
            self._heard.put(frame(client))

    def next(self) -> int:
        """The number of the next PUBACK, or the first byte of another packet, negative."""
        first, body = self._heard.get(timeout=20)
        return int.from_bytes(body, "big") if first == 0x40 else -first

    @property
    def nothing(self) -> bool:
        return self._heard.empty()


@pytest.fixture
def told() -> Told:
    return Told()


def settled(broker: ScriptedBroker, **more: object) -> MqttLink:
    return broker.link(settled=True, **more)


def test_what_was_dealt_with_is_acknowledged_and_nothing_that_was_not(told: Told) -> None:
    def script(client: socket.socket) -> None:
        client.sendall(ACCEPTED + UNMARKED + b"".join(letter(10 + one, b"%d" % one) for one in range(5)))
        told.listen(client)

    broker = ScriptedBroker(script)
    link = settled(broker)
    assert not broker.logins[0][7] & 2, "its session is kept"
    assert [received(link).payload for _ in range(4)] == [b"hi", b"0", b"1", b"2"]
    assert told.nothing
    link.settle()
    assert [told.next() for _ in range(3)] == [10, 11, 12]
    link.settle()
    assert received(link).payload == b"3"
    link.settle()
    assert told.next() == 13, "once each"
    link.close()
    assert told.next() == -GOODBYE, "what nobody has taken is not acknowledged"
    broker.close()


def test_a_number_of_a_connection_that_ended_is_not_acknowledged_on_the_next_one(told: Told) -> None:
    go = threading.Event()

    def first(client: socket.socket) -> None:
        client.sendall(ACCEPTED + letter(1, b"taken") + letter(2, b"waits"))
        go.wait(10)
        client.close()

    def second(client: socket.socket) -> None:
        client.sendall(AGAIN + letter(7, b"taken", again=True) + letter(1, b"waits", again=True) + letter(2, b"new"))
        told.listen(client)

    broker = ScriptedBroker(first, second)
    link = settled(broker)
    assert received(link).payload == b"taken"
    go.set()
    until(lambda: link.connections == 2, "it came back", 30)
    assert received(link).payload == b"waits", "from before"
    assert received(link).payload == b"taken"
    link.settle()
    assert told.next() == 7, "and not 1 and 2, which are other letters now"
    assert [received(link).payload for _ in range(2)] == [b"waits", b"new"]
    link.settle()
    assert [told.next(), told.next()] == [1, 2]
    link.close()
    broker.close()


def test_what_comes_while_a_link_closes_is_left_to_come_again(told: Told) -> None:
    closing = threading.Event()

    def script(client: socket.socket) -> None:
        client.sendall(ACCEPTED)
        body = frame(client)[1]
        closing.wait(10)
        client.sendall(letter(5, b"late") + b"\x40\x02" + body[3:5])
        told.listen(client)

    broker = ScriptedBroker(script)
    link = settled(broker)
    link.publish("a", b"waited for")
    leaves = threading.Thread(target=link.close)
    leaves.start()
    until(lambda: link._inbox.closed, "nothing is taken any more")
    closing.set()
    leaves.join(20)
    assert told.next() == -GOODBYE
    broker.close()


def test_a_letter_without_room_is_let_go_so_that_the_next_ones_come(told: Told) -> None:
    def script(client: socket.socket) -> None:
        client.sendall(ACCEPTED + letter(1, bytes(60)) + letter(2, bytes(60)))
        go.wait(20)
        client.sendall(letter(3, b"has room"))
        told.listen(client)

    broker, go = ScriptedBroker(script), threading.Event()
    link = settled(broker, inbox_bytes=100)
    until(lambda: link.lost == 1, "the second one is dropped")
    received(link)
    go.set()
    assert received(link).payload == b"has room"
    link.settle()
    assert [told.next() for _ in range(3)] == [2, 1, 3]
    link.close()
    broker.close()


@pytest.mark.parametrize("more", [{"settled": True, "session": "unqueued"}, {"session": "plain"}])
def test_where_a_broker_keeps_nothing_a_letter_is_acknowledged_before_its_owner_settles(
    told: Told, more: dict[str, object]
) -> None:
    def script(client: socket.socket) -> None:
        client.sendall(ACCEPTED + letter(3, b"once"))
        told.listen(client)

    broker = ScriptedBroker(script)
    link = broker.link(**more)
    assert broker.logins[0][7] & 2, "no session is kept"
    received(link)
    assert told.next() == 3
    link.settle()
    link.close()
    assert told.next() == -GOODBYE
    broker.close()
