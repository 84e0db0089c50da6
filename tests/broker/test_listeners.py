"""Listeners: plain only where it is said, TLS with and without clients' certificates, WebSockets, and their files."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as open_websocket
from websockets.uri import parse_uri

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import FileError
from accord.link.mqtt import Address, MqttLink
from broker import credentials
from broker.config import Limits, Listener, Tls
from broker.credentials import Login
from broker.listeners import Listeners
from tests.broker.authority import Authority
from tests.broker.raw_client import PING, PONG, RawClient, connect, subscribe
from tests.broker.served import PASSWORDS, Served
from tests.waiting import until

Serve = Callable[..., Served]


def secured(authority: Authority, *, clients: bool = False, websocket: bool = False) -> Listener:
    certificate, key = authority.pair("localhost")
    tls = Tls(certificate=certificate, key=key, clients=authority.path if clients else None)
    return Listener(port=0, tls=tls, websocket=websocket)


def login(port: int, tls: ssl.SSLContext | None, *arguments: str | None, **more: object) -> int | None:
    with RawClient(port, tls) as client:
        return client.login(*arguments, **more)


def test_a_plain_listener_must_be_called_insecure() -> None:
    with pytest.raises(UsageError, match="reads every password"):
        Listener(port=1883)


def test_a_link_works_over_tls_with_a_password(serve: Serve, authority: Authority) -> None:
    broker = serve(secured(authority))
    tls = authority.client()
    address = Address(host="localhost", port=broker.port, client_id="dev-1", password=PASSWORDS["dev-1"], tls=tls)
    link = MqttLink(address, entropy=SystemEntropy())
    assert link.connected
    link.close()
    assert login(broker.port, tls, "dev-1", "wrong") == 4
    with RawClient(broker.port) as plain:  # what is said before TLS is not taken for what is said inside
        plain.send(connect("dev-1", PASSWORDS["dev-1"]))
        assert plain.ended()


def test_where_certificates_are_required_the_name_on_it_is_the_client(serve: Serve, authority: Authority) -> None:
    broker = serve(secured(authority, clients=True))
    mine, other = authority.client("dev-1"), authority.client("dev-2")
    assert login(broker.port, mine, "dev-1") == 4  # who has a password must say it
    assert login(broker.port, mine, "dev-1", PASSWORDS["dev-1"]) == 0
    assert login(broker.port, mine, "dev-1", "wrong") == 4
    assert login(broker.port, other, "dev-1") == 5
    assert login(broker.port, other, "dev-1", PASSWORDS["dev-1"]) == 5
    assert login(broker.port, other, "dev-1", PASSWORDS["dev-2"], username="dev-2") == 5
    assert login(broker.port, authority.client("dev-9"), "dev-9") == 4


@pytest.mark.parametrize("names", [(), ("dev-1", "dev-2")])
def test_no_certificate_and_two_names_on_one_let_nobody_in(
    serve: Serve, authority: Authority, names: tuple[str, ...]
) -> None:
    broker = serve(secured(authority, clients=True))
    try:
        code = login(broker.port, authority.client(*names), "dev-1", PASSWORDS["dev-1"])
    except (ssl.SSLError, ConnectionError):
        code = None
    assert code in (None, 4, 5)


def test_a_certificate_of_another_authority_lets_nobody_in(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    broker = serve(secured(authority, clients=True))
    stranger = Authority(tmp_path, "another authority")
    context = authority.client()
    context.load_cert_chain(*stranger.pair("dev-1"))
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        assert login(broker.port, context, "dev-1", PASSWORDS["dev-1"]) is not None
    assert login(broker.port, authority.client("dev-1"), "dev-1", PASSWORDS["dev-1"]) == 0


def test_a_device_that_was_enrolled_anew_shuts_out_its_old_certificate(serve: Serve, authority: Authority) -> None:
    broker = serve(secured(authority, clients=True))
    lost = authority.client("dev-1")
    assert login(broker.port, lost, "dev-1", PASSWORDS["dev-1"]) == 0
    credentials.add(broker.clients, [Login(client="dev-1", secret="of the new card")], SystemEntropy(), now=0)
    assert login(broker.port, lost, "dev-1", PASSWORDS["dev-1"]) == 4
    assert login(broker.port, lost, "dev-1") == 4
    assert login(broker.port, authority.client("dev-1"), "dev-1", "of the new card") == 0


def test_a_client_may_be_known_by_its_certificate_alone(serve: Serve, authority: Authority) -> None:
    broker = serve(secured(authority, clients=True), secured(authority))
    credentials.add(broker.clients, [Login(client="dev-3")], SystemEntropy(), now=0)
    assert login(broker.ports[0], authority.client("dev-3"), "dev-3") == 0
    assert login(broker.ports[1], authority.client(), "dev-3", "") == 4


@pytest.mark.parametrize("tls", [False, True])
def test_mqtt_flows_in_a_websocket_however_it_is_cut(serve: Serve, authority: Authority, tls: bool) -> None:
    listener = secured(authority, websocket=True) if tls else Listener(port=0, websocket=True, insecure=True)
    broker = serve(listener)
    said = connect("dev-1", PASSWORDS["dev-1"]) + subscribe("fl/v1/t/bcast/#") + PING
    with open_websocket(
        f"{listener.scheme}://localhost:{broker.port}/mqtt",
        subprotocols=["mqtt"],
        ssl=authority.client() if tls else None,
        open_timeout=10,
        proxy=None,
    ) as client:
        for at in range(0, len(said), 7):
            client.send(said[at : at + 7])
        found = b""
        while not found.endswith(b"\xd0\x00"):
            found += client.recv(10)
    assert found.startswith(b"\x20\x02\x00\x00\x90")


def test_http_that_is_no_websocket_for_mqtt_is_refused(serve: Serve) -> None:
    broker = serve(Listener(port=0, websocket=True, insecure=True), limits=Limits(login=1))
    with pytest.raises(InvalidStatus):
        open_websocket(f"ws://localhost:{broker.port}", open_timeout=10, proxy=None)
    for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x10\x00", b"GET " + b"a" * 100_000):
        with RawClient(broker.port) as client:
            client.send(said)
            assert client.ended()
    with RawClient(broker.port) as client:
        speaker = ClientProtocol(parse_uri("ws://localhost"), subprotocols=["mqtt"])
        speaker.send_request(speaker.connect())
        speaker.state = speaker.state.OPEN
        speaker.send_text(b"MQTT")
        client.send(b"".join(speaker.data_to_send()))
        assert client.ended()


def test_a_port_that_another_holds_is_named(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port} can't be listened on .*another broker"):
            serve(Listener(port=0, insecure=True), Listener(port=port, insecure=True))


def test_files_of_tls_that_are_not_ones_are_named(serve: Serve, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.pair("localhost")
    other = Authority(tmp_path, "another").pair("other")[1]
    missing = tmp_path / "missing"
    for tls, error, match in (
        (Tls(certificate=certificate, key=missing), FileError, "missing"),
        (Tls(certificate=missing, key=key), UsageError, "missing .*No such file"),
        (Tls(certificate=certificate, key=other), UsageError, "not a PEM certificate and its key"),
        (Tls(certificate=certificate, key=key, clients=key), UsageError, "holds no certificate"),
    ):
        with pytest.raises(error, match=match):
            serve(Listener(port=0, tls=tls))
    os.chmod(other, 0o644)  # noqa: PTH101 - what `Path.chmod` does
    with pytest.raises(FileError):
        serve(Listener(port=0, tls=Tls(certificate=certificate, key=other)))


def test_a_key_with_a_passphrase_does_not_wait_at_a_prompt(serve: Serve, authority: Authority) -> None:
    certificate, key = authority.pair("locked")
    from cryptography.hazmat.primitives import serialization as s  # noqa: PLC0415

    loaded = s.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(loaded.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"word")))
    with pytest.raises(UsageError, match="without a passphrase"):
        serve(Listener(port=0, tls=Tls(certificate=certificate, key=key)))


def test_silence_and_noise_in_place_of_tls_end(serve: Serve, authority: Authority) -> None:
    broker = serve(secured(authority, clients=True), limits=Limits(login=1))
    for said in (b"\x16\x03\x01\x00\x05hello", os.urandom(500), b"\x10\x00"):
        with RawClient(broker.port) as client:
            client.send(said)
            assert client.ended()
    assert threading.active_count() > 1
    with RawClient(broker.port, authority.client("dev-1")) as client:
        assert client.login("dev-1", PASSWORDS["dev-1"]) == 0
        client.send(PING)
        assert client.next() == PONG


def test_a_renewed_certificate_is_taken_up_and_half_a_pair_is_not(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path, "an authority of its own")
    broker = serve(secured(authority))
    context = authority.client()

    def shown() -> bytes | None:
        with RawClient(broker.port, context) as client:
            found: bytes | None = client._socket.getpeercert(binary_form=True)  # type: ignore[union-attr]
            return found

    first = shown()
    authority.pair("localhost")
    until(lambda: shown() != first, "the new certificate is shown")
    second = shown()
    other = authority.pair("other")
    (tmp_path / "localhost.crt").write_bytes(other[0].read_bytes())
    until(lambda: "the certificate stays as it was" in caplog.text, "the log says that the two are no pair")
    assert shown() == second
    assert login(broker.port, context, "dev-1", PASSWORDS["dev-1"]) == 0


def test_connections_that_are_turned_away_leave_nothing_behind() -> None:
    class Door:
        largest_first, login = 1, 1.0

        async def connected(self, address: str, secured: object, abort: Callable[[], None]) -> None:
            abort()

        def revoked(self, name: str) -> None:
            raise AssertionError(name)

    async def story() -> None:
        listeners = Listeners(Door())
        await listeners.open((Listener(port=0, insecure=True),))
        await listeners.start()
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", *listeners.ports)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert len(listeners._transports) <= 1
        listeners.close()
        await listeners.end()

    asyncio.run(story())
