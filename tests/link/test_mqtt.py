"""The link over MQTT against brokers that err, lie or stop reading: its thread lives and its stream stays whole."""

import socket
import threading

import pytest
from scripted_broker import ACCEPTED, ScriptedBroker, exactly, frame
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from accord.entropy import SystemEntropy
from accord.errors import LocalProtocolError, UsageError
from accord.link import ClosedError, Delivery, FullError, LinkError, RefusedError, UnreachableError, paho_client
from accord.link import mqtt as mqtt_link
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.paho_client import LARGEST_PACKET
from tests.waiting import until

LETTER = b"\x30\x05\x00\x01ahi"


def accept(client: socket.socket) -> None:
    client.sendall(ACCEPTED)


def deliver(client: socket.socket) -> None:
    client.sendall(ACCEPTED + b"\x30\x05\x00\x01ahi")


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"\x30\x03\x00\xffa", id="a topic longer than its packet"),
        pytest.param(b"\x30\x00", id="PUBLISH without a topic"),
        pytest.param(b"\x90\x00", id="SUBACK without a packet id"),
        pytest.param(b"\x32\x04\x00\x01aa", id="QoS 1 with half a packet id"),
        pytest.param(b"\xf0\x00", id="a reserved type"),
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="a length of five bytes"),
        pytest.param(b"\x30\xff\xff\xff\x7f" + bytes(9), id="a packet of 256 MiB"),
    ],
)
def test_a_broker_that_sends_nonsense_is_left_and_tried_again(packet: bytes) -> None:
    broker = ScriptedBroker(lambda client: client.sendall(ACCEPTED + packet), deliver)
    link = broker.link()
    assert link.receive(20) == Delivery(topic="a", payload=b"hi")
    assert link.connections == 2
    link.close()
    broker.close()


def test_a_topic_that_is_not_text_is_nobodys_letter() -> None:
    broker = ScriptedBroker(lambda client: client.sendall(ACCEPTED + b"\x30\x05\x00\x02\xff\xfea" + LETTER))
    link = broker.link()
    assert link.receive(10) == Delivery(topic="a", payload=b"hi")
    assert link.connections == 1
    link.close()
    broker.close()


def test_a_callback_that_fails_costs_the_connection_and_not_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = ScriptedBroker(accept, deliver)
    link = broker.link()
    failed = threading.Event()

    def fail(_timeout: float) -> None:
        failed.set()
        monkeypatch.undo()
        raise RuntimeError("a defect")

    monkeypatch.setattr(link._client, "loop", fail)
    assert link.receive(20) == Delivery(topic="a", payload=b"hi")
    assert failed.is_set()
    assert link.connected
    link.close()
    broker.close()


def test_letters_of_several_threads_are_never_mixed_on_the_wire() -> None:
    read: list[bytes] = []
    go = threading.Event()

    def slow(client: socket.socket) -> None:
        accept(client)
        go.wait(10)  # then the socket is full, and what is written are parts of packets
        while len(read) < 200:
            first, body = frame(client)
            assert first == 0x30
            assert body[:3] == b"\x00\x01a"
            read.append(body[3:])

    broker = ScriptedBroker(slow)
    link = broker.link()

    def send(number: int) -> None:
        for _ in range(50):
            link.publish("a", bytes([number]) * 200_000, qos=0)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(20)
    until(lambda: len(read) == 200 or bool(broker.failures), "all letters have come", 30)
    assert not broker.failures
    assert all(body == body[:1] * 200_000 for body in read)
    link.close()
    broker.close()


def test_closing_waits_for_what_the_broker_has_not_acknowledged() -> None:
    seen: list[bytes] = []

    def late(client: socket.socket) -> None:
        accept(client)
        while True:
            first, body = frame(client)
            seen.append(bytes([first >> 4]))
            if first >> 4 == 3:
                client.sendall(b"\x40\x02" + body[3:5])

    broker = ScriptedBroker(late)
    link = broker.link()
    for _ in range(100):
        link.publish("a", b"x")
    link.close()
    until(lambda: len(seen) == 101, "all letters and a goodbye have come")
    assert seen == [b"\x03"] * 100 + [b"\x0e"]
    with pytest.raises(ClosedError):
        link.publish("a", b"x")
    link.close()
    broker.close()


def test_closing_does_not_wait_forever_for_a_broker_that_stopped_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_link, "GOODBYE", 0.2)
    broker = ScriptedBroker(accept)
    link = broker.link()
    for _ in range(100):
        link.publish("a", bytes(1 << 20), qos=0)
    link.publish("a", b"x")
    link.close()
    until(lambda: not link._thread.is_alive(), "the thread has ended")
    broker.close()


@pytest.mark.parametrize(
    ("code", "name", "says"),
    [
        (1, "WrongVersion", "3.1.1"),
        (2, "WrongClientId", "client id"),
        (3, "BrokerUnavailable", "later"),
        (4, "WrongPassword", "password"),
        (5, "NotAuthorized", "enrolled"),
        (99, "UnspecifiedError", "said no"),
    ],
)
def test_a_refused_login_has_a_name_and_says_what_to_look_at(code: int, name: str, says: str) -> None:
    broker = ScriptedBroker(lambda client: client.sendall(bytes([0x20, 2, 0, code])))
    with pytest.raises(RefusedError, match=says) as found:
        broker.link()
    assert found.value.reason == name
    broker.close()


def test_a_login_refused_later_is_told_and_tried_again() -> None:
    refused = threading.Event()

    def refuse(client: socket.socket) -> None:
        client.sendall(b"\x20\x02\x00\x05")
        refused.set()

    broker = ScriptedBroker(lambda client: (accept(client), client.close()), refuse, accept)
    link = broker.link()
    until(refused.is_set, "the second login is refused", 20)
    until(lambda: link.connections == 2, "the third is not", 30)
    assert link.refusal == ""
    link.close()
    broker.close()


def test_who_listens_there_is_no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = ScriptedBroker(lambda client: exactly(client, 1))
    port = broker._server.getsockname()[1]
    with pytest.raises(UnreachableError, match="is it a broker"):
        mqtt_link.MqttLink(
            Address(host="127.0.0.1", port=port, client_id="dev-1", password="p"),
            entropy=bytes,
            connect_timeout=0.3,
        )
    broker.close()


def test_what_can_not_be_sent_is_refused_by_name() -> None:
    broker = ScriptedBroker(accept)
    link = broker.link()
    with pytest.raises(FullError, match="in pieces"):
        link.publish("a", bytes((1 << 20) + 1))
    with pytest.raises(LinkError, match="can't be published to"):
        link.publish("a/+", b"x")
    for bad in ("", "a#", "#/a", "a/b+"):
        with pytest.raises(LinkError, match="not a topic filter"):
            link.subscribe(bad)
    for call in (lambda: link.publish("a", b"", qos=2), lambda: link.subscribe("a", qos=2)):
        with pytest.raises(LocalProtocolError):
            call()

    def flood() -> None:
        for _ in range(paho_client.QUEUED + 1):
            link.publish("a", b"x")

    with pytest.raises(FullError, match="wait for the connection"):
        flood()
    broker.close()
    link.close()


def test_an_address_shows_no_password() -> None:
    address = Address(host="h", port=1, client_id="c", password="secret")
    assert "secret" not in repr(address)
    with pytest.raises(UsageError):
        Address(host="h", port=0, client_id="c", password="p")


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LinkError, match="is it running"):
        mqtt_link.MqttLink(
            Address(host="127.0.0.1", port=port, client_id="dev-1", password="p"), entropy=SystemEntropy()
        )


def test_a_frame_of_a_websocket_that_never_ends_is_left(caplog: pytest.LogCaptureFixture) -> None:
    letter = b"\x30\xe3\xd4\x03\x00\x01a" + bytes(60_000)
    ended = threading.Event()

    def endless(client: ServerConnection) -> None:
        client.recv()
        client.send(ACCEPTED)
        client.socket.sendall(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"))  # one frame of a tebibyte
        try:
            for _ in range(3 * LARGEST_PACKET // len(letter)):
                client.socket.sendall(letter)
            ended.wait(10)
        except OSError:
            pass

    with serve(endless, "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        address = Address(host="127.0.0.1", port=port, client_id="dev-1", password="p", websocket="/mqtt")
        link = MqttLink(address, entropy=SystemEntropy())
        until(lambda: "a packet that is too large" in caplog.text, "it is left", 30)
        link.close()
        ended.set()
