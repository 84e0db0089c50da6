"""MQTT 5 where a broker has it, and MQTT 3.1.1 where it has not: asked once, remembered, and used within its limits."""

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted_broker import ACCEPTED, ScriptedBroker, frame

from accord.entropy import SystemEntropy
from accord.link import Delivery, FullError, RefusedError
from accord.link.abilities import NEW, OLD, Abilities
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.wire import topics
from broker import mosquitto
from broker.config import Listener
from broker.process import free_port
from tests.waiting import until, until_heard

COMMAND = topics.down("t", "dev-1", "cmd")
PLAIN = b"\x20\x03\x00\x00\x00"
"""CONNACK of MQTT 5 without properties."""
LIMITED = b"\x20\x0d\x00\x00\x0a" + b"\x21\x00\x03" + b"\x27\x00\x00\x03\xe8" + b"\x25\x00"
"""Three unacknowledged, packets of 1,000 bytes, nothing retained."""
TOO_NEW = b"\x20\x03\x00\x84\x00"


def say(*packets: bytes, leave: bool = False) -> object:
    def script(client: socket.socket) -> None:
        client.sendall(b"".join(packets))
        if leave:
            client.close()

    return script


@pytest.fixture
def five(tmp_path: Path) -> Iterator[Callable[..., MqttLink]]:
    """Mosquitto, which speaks MQTT 5, and links to it."""
    passwords, port, links = {"aggregator": "a" * 20, "dev-1": "b" * 20}, free_port(), []
    mosquitto.write(tmp_path / "broker", "t", passwords, SystemEntropy())
    process = mosquitto.Mosquitto(tmp_path / "broker", Listener(port=port, insecure=True))
    process.start()

    def link(client: str, **more: object) -> MqttLink:
        address = Address(host="127.0.0.1", port=port, client_id=client, password=passwords[client])
        links.append(MqttLink(address, **({"entropy": SystemEntropy()} | more)))
        return links[-1]

    yield link
    for one in links:
        one.close()
    process.stop()


def test_a_broker_with_mqtt_5_keeps_what_comes_while_we_are_away(five: Callable[..., MqttLink]) -> None:
    learned: list[Abilities] = []
    away, back = threading.Event(), threading.Event()

    def entropy(size: int) -> bytes:
        if not learned:  # the first place to try
            return bytes(size)
        away.set()
        back.wait(30)
        return bytes(size)

    aggregator = five("aggregator")
    link = five("dev-1", entropy=entropy, learned=learned.append)
    (found,) = learned
    assert found == link.abilities
    assert (found.version, found.in_flight, found.retain, found.wildcards) == (NEW, 128, True, True)
    assert found.session == 300
    link.subscribe(COMMAND)
    until_heard(lambda: aggregator.publish(COMMAND, b"marker"), link, b"marker")
    link._client.drop()
    assert away.wait(10), "it notices"
    aggregator.publish(COMMAND, b"meanwhile")
    aggregator.close()
    back.set()
    assert link.receive(30) == Delivery(topic=COMMAND, payload=b"meanwhile")
    assert link.connections == 2
    known: list[Abilities] = []
    again = five("dev-1", known=found, learned=known.append)
    assert again.abilities == found
    assert known == [], "nothing is news"


@pytest.mark.parametrize(
    "refusing",
    [
        pytest.param(say(TOO_NEW), id="by the code of MQTT 5"),
        pytest.param(say(b"\x20\x02\x00\x01", leave=True), id="by that of 3.1.1"),
        pytest.param(say(leave=True), id="without a word"),
    ],
)
def test_a_broker_that_refuses_mqtt_5_is_asked_once_and_remembered(refusing: object) -> None:
    broker, learned = ScriptedBroker(refusing, say(ACCEPTED)), []
    link = broker.link(learned=learned.append)
    assert broker.versions == [NEW, OLD]
    link.close()
    (found,) = learned
    assert found.version == OLD
    again = broker.link(known=found, learned=learned.append)
    assert broker.versions == [NEW, OLD, OLD]
    assert learned == [found]
    again.close()
    elsewhere = broker.link(known=Abilities.old("other:1883"), learned=learned.append)
    assert broker.versions[3] == NEW, "what is known of another broker says nothing"
    assert elsewhere.abilities.version == OLD, "and an answer without properties is of MQTT 3.1.1"
    elsewhere.close()
    broker.close()


def test_who_remembers_nothing_speaks_the_old_version() -> None:
    broker = ScriptedBroker(say(ACCEPTED))
    link = broker.link()
    assert broker.versions == [OLD]
    link.close()
    broker.close()


def test_a_refusal_of_the_password_is_no_reason_to_try_the_old_version() -> None:
    broker = ScriptedBroker(say(b"\x20\x03\x00\x86\x00"))
    with pytest.raises(RefusedError, match="password") as found:
        broker.link(learned=lambda _found: None)
    assert found.value.reason == "WrongPassword"
    assert broker.versions == [NEW]
    broker.close()


def test_the_limits_that_a_broker_tells_are_kept() -> None:
    packets: list[tuple[int, bytes]] = []

    def listen(client: socket.socket) -> None:
        client.sendall(LIMITED)
        while True:
            packets.append(frame(client))

    broker, learned = ScriptedBroker(listen), []
    broker.link(learned=learned.append).close()
    until(lambda: any(first >> 4 == 14 for first, _ in packets), "it has left")
    packets.clear()
    link = broker.link(known=learned[0], learned=learned.append)
    with pytest.raises(FullError, match="in pieces"):
        link.publish("a", bytes(1_000))
    for _ in range(5):
        link.publish("a", bytes(800), retain=True)
    link.publish("b", b"", qos=0)
    until(lambda: any(body[2:3] == b"b" for _, body in packets), "the last one comes")
    letters = [first for first, body in packets if body[2:3] == b"a"]
    assert letters == [0x32] * 3, "three at once, and none of them retained"
    broker.close()
    link.close()


def test_with_mqtt_5_a_letter_is_acknowledged_when_the_next_one_is_asked_for() -> None:
    acknowledged: list[bytes] = []
    both = b"".join(b"\x32\x07\x00\x01a" + bytes([0, n, 0]) + b"x" for n in (1, 2))

    def letters(client: socket.socket) -> None:
        client.sendall(PLAIN + both)
        while True:
            first, body = frame(client)
            if first >> 4 == 4:
                acknowledged.append(body[:2])

    broker = ScriptedBroker(letters)
    link = broker.link(learned=lambda _found: None)
    assert link.receive(10) is not None
    link.publish("b", b"")
    assert link.receive(0.5) is not None
    until(lambda: acknowledged == [b"\0\x01"], "the first is acknowledged")
    assert link.receive(0.5) is None
    until(lambda: acknowledged == [b"\0\x01", b"\0\x02"], "and then the second")
    link.close()
    broker.close()


def test_a_letter_of_a_connection_before_is_not_acknowledged_on_the_next() -> None:
    acknowledged: list[bytes] = []
    once = threading.Event()

    def breaking(client: socket.socket) -> None:
        client.sendall(PLAIN + b"\x32\x07\x00\x01a\x00\x07\x00x")
        once.wait(10)
        client.close()

    def listening(client: socket.socket) -> None:
        client.sendall(PLAIN)
        while True:
            first, body = frame(client)
            if first >> 4 == 4:
                acknowledged.append(body)
            if first >> 4 == 3:
                client.sendall(b"\x40\x02" + body[3:5])

    broker = ScriptedBroker(breaking, listening)
    link = broker.link(learned=lambda _found: None)
    assert link.receive(10) is not None
    once.set()
    until(lambda: link.connections == 2, "it comes back", 30)
    assert link.receive(0) is None
    link.publish("a", b"x")
    link.close()
    assert acknowledged == []
    broker.close()


def test_a_broker_that_was_replaced_by_an_older_one_is_spoken_to_in_its_version_and_remembered() -> None:
    broker, learned = ScriptedBroker(say(PLAIN, leave=True), say(TOO_NEW, leave=True), say(ACCEPTED)), []
    link = broker.link(learned=learned.append)
    until(lambda: link.connections == 2, "it is let in again", 60)
    assert broker.versions == [NEW, NEW, OLD]
    until(lambda: [found.version for found in learned] == [NEW, OLD], "the owner is told, as after the first login")
    assert link.abilities == learned[1]
    link.close()
    broker.close()


def test_an_owner_that_can_not_keep_what_was_learned_costs_no_connection() -> None:
    broker, full = ScriptedBroker(say(PLAIN, leave=True), say(TOO_NEW, leave=True), say(ACCEPTED)), []

    def learned(found: Abilities) -> None:
        full.append(found)
        if len(full) > 1:
            raise OSError("the disk is full")

    link = broker.link(learned=learned)
    until(lambda: len(full) == 2, "the owner is told", 60)
    until(lambda: link.connected, "the link goes on")
    assert broker.versions == [NEW, NEW, OLD]
    link.close()
    broker.close()


def test_a_broker_that_says_why_it_ends_the_connection_is_quoted() -> None:
    gone = threading.Event()

    def sends_away(client: socket.socket) -> None:
        client.sendall(PLAIN + b"\xe0\x02\x8e\x00")
        gone.wait(10)

    broker = ScriptedBroker(sends_away)
    link = broker.link(
        entropy=lambda size: (not broker.logins or gone.wait(30)) and bytes(size), learned=lambda _: None
    )
    until(lambda: "another process has logged in under this client id" in link.refusal, "it is told")
    gone.set()
    link.close()
    broker.close()
