"""What a link asks of a broker: a login of each of its nodes, and its subscriptions together, again, or at QoS 0."""

import socket

import pytest
from scripted_broker import ACCEPTED, ScriptedBroker, frame

from accord.entropy import SystemEntropy
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import UnreachableError

LETTER = b"\x30\x05\x00\x01ahi"


def accept(client: socket.socket) -> None:
    client.sendall(ACCEPTED)


def test_a_subscription_that_the_broker_refuses_is_asked_for_again() -> None:
    asked: list[bytes] = []

    def refuse_once(client: socket.socket) -> None:
        accept(client)
        for answer in (0x80, 0x01):
            kind, body = frame(client)
            assert kind == 0x82
            asked.append(body[2:])
            client.sendall(b"\x90\x03" + body[:2] + bytes([answer]))
        client.sendall(LETTER)
        client.recv(1)

    broker = ScriptedBroker(refuse_once)
    link = broker.link()
    link.subscribe("a")
    found = link.receive(20)
    assert found is not None
    assert asked == [b"\x00\x01a\x01"] * 2
    link.close()
    broker.close()
    assert not broker.failures


def test_where_nothing_is_queued_filters_are_asked_for_at_qos_0_and_after_a_reconnect_in_one_packet() -> None:
    asked: list[bytes] = []

    def hear(client: socket.socket, packets: int) -> None:
        accept(client)
        for _ in range(packets):
            kind, body = frame(client)
            assert kind == 0x82
            asked.append(body[2:])

    def again(client: socket.socket) -> None:
        hear(client, 1)
        client.sendall(LETTER)
        client.recv(1)

    def leave(client: socket.socket) -> None:
        hear(client, 2)
        client.shutdown(socket.SHUT_RDWR)

    broker = ScriptedBroker(leave, again)
    link = MqttLink(
        Address(host="127.0.0.1", port=broker.port, client_id="dev-1", password="p", session="unqueued"),
        entropy=SystemEntropy(),
    )
    link.subscribe("a")
    link.subscribe("b", qos=1)
    assert link.receive(20) is not None
    assert asked == [b"\x00\x01a\x00", b"\x00\x01b\x00", b"\x00\x01a\x00\x00\x01b\x00"]
    link.close()
    broker.close()
    assert not broker.failures


def test_a_node_that_takes_the_connection_and_answers_no_login_is_left_for_the_next() -> None:
    broker, hangs_up = ScriptedBroker(accept), ScriptedBroker(lambda client: client.shutdown(socket.SHUT_RDWR))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here, nobody = silent.getsockname()[1], ("127.0.0.1", hangs_up.port)
        nodes = {"host": "127.0.0.1", "port": here, "client_id": "dev-1", "password": "p"}
        address = Address(**nodes, others=(nobody, ("127.0.0.1", broker.port)))
        for _ in range(5):  # it begins at a node that it draws
            link = MqttLink(address, entropy=SystemEntropy(), connect_timeout=0.2)
            assert link.connected
            link.close()
        with pytest.raises(UnreachableError, match="did not answer the login"):
            MqttLink(Address(**nodes, others=(nobody,)), entropy=SystemEntropy(), connect_timeout=0.2)
    broker.close()
    hangs_up.close()
    assert not broker.failures
