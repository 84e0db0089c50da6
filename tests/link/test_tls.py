"""Links over TLS: whom they believe, what they show, how they go through proxies, and what a person is told."""

import dataclasses
import http.server
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.entropy import SeededEntropy, SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder
from accord.link import Delivery, LinkError, RefusedError, UnreachableError, UntrustedError
from accord.link.address import Address
from accord.link.greeting import greeted
from accord.link.mqtt import MqttLink
from accord.link.tls import Tls, explained
from accord.link.tunnel import Proxy, through
from accord.wire import topics
from aggregator.tls_folder import TlsFolder
from aggregator.transport_ca import TransportCA
from broker import mosquitto
from broker.config import Listener
from broker.config import Tls as Files
from broker.process import free_port
from tests.waiting import until

NOW, DAY = int(time.time()), 86_400
PASSWORDS = {"aggregator": "a" * 20, "dev-1": "b" * 20, "dev-2": "c" * 20}
COMMAND = topics.down("t", "dev-1", "cmd")


class Secured:
    """Mosquitto with three listeners: for passwords, for certificates, and for WebSockets."""

    def __init__(self, folder: Path) -> None:
        self.ca = TransportCA.create(folder / "transport", "t", NOW + DAY, SeededEntropy(1), now=NOW)
        self.files = TlsFolder(path=make_folder(folder / "tls"))
        self.files.write(self.ca, ("127.0.0.1", "broker.example"), NOW + DAY)
        self.state, self.folder = make_folder(folder / "broker"), folder
        mosquitto.write(self.state, "t", PASSWORDS, SystemEntropy())
        files = Files(certificate=self.files.server, key=self.files.server_key)
        self.listeners = (
            Listener(port=free_port(), tls=files),
            Listener(port=free_port(), tls=dataclasses.replace(files, clients=self.files.ca)),
            Listener(port=free_port(), tls=files, websocket=True),
        )
        self.process = mosquitto.Mosquitto(self.state, *self.listeners)
        self.process.start()
        self._links: list[MqttLink] = []

    @property
    def pem(self) -> str:
        return self.ca.pem.decode()

    def certificate(self, device: str, serial: int = 7) -> tuple[Path, Path]:
        """Write a device's certificate and key, in place of those before."""
        pair = self.ca.client(device, NOW + DAY, serial)
        paths = self.folder / f"{device}.pem", self.folder / f"{device}.key"
        for path, data in zip(paths, (pair.certificate, pair.key), strict=True):
            path.write_bytes(data)
        return paths

    def address(self, device: str, which: int = 0, **changes: object) -> Address:
        port, path = self.listeners[which].port, "/mqtt" if which == 2 else ""
        found = Address(
            host="127.0.0.1",
            port=port,
            client_id=device,
            password=PASSWORDS[device],
            tls=Tls(ca=self.pem),
            websocket=path,
        )
        return dataclasses.replace(found, **changes)

    def link(self, device: str, which: int = 0, **changes: object) -> MqttLink:
        self._links.append(MqttLink(self.address(device, which, **changes), entropy=SystemEntropy()))
        return self._links[-1]

    def close(self) -> None:
        for link in self._links:
            link.close()
        self.process.stop()


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    found = Secured(tmp_path)
    yield found
    found.close()


def carried(sender: MqttLink, receiver: MqttLink, payload: bytes = b"plan") -> None:
    """Send until it has come: a subscription takes its time."""
    receiver.subscribe(COMMAND)

    def heard() -> bool:
        sender.publish(COMMAND, payload)
        return receiver.receive(0.2) == Delivery(topic=COMMAND, payload=payload)

    until(heard, "a letter comes")


def test_letters_go_over_tls_websockets_and_with_certificates(secured: Secured) -> None:
    certificate, key = secured.certificate("dev-1")
    aggregator = secured.link("aggregator")
    plain = secured.link("dev-1")
    carried(aggregator, plain)
    plain.close()
    shown = secured.link("dev-1", 1, tls=Tls(ca=secured.pem, certificate=certificate, key=key))
    carried(aggregator, shown)
    shown.close()
    over = secured.link("dev-1", 2)
    carried(aggregator, over, bytes(range(256)) * 1_000)
    over.publish(topics.up("t", "dev-1", "req"), bytes(300_000))
    over.close()


def test_a_broker_that_asks_for_a_certificate_says_so_to_who_has_none(secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="certificate of its fleet's transport CA") as found:
        secured.link("dev-1", 1)
    assert found.value.reason == "CertificateRefused"
    other = TransportCA.create(tmp_path / "other", "u", NOW + DAY, SeededEntropy(2), now=NOW).client("dev-1", NOW + DAY)
    paths = tmp_path / "foreign.pem", tmp_path / "foreign.key"
    for path, data in zip(paths, (other.certificate, other.key), strict=True):
        path.write_bytes(data)
    with pytest.raises(RefusedError, match="refuses our TLS"):
        secured.link("dev-1", 1, tls=Tls(ca=secured.pem, certificate=paths[0], key=paths[1]))
    ours = secured.certificate("dev-1")
    with pytest.raises(LinkError, match="no certificate and its key") as mixed:
        secured.link("dev-1", 1, tls=Tls(ca=secured.pem, certificate=ours[0], key=paths[1]))
    assert mixed.value.reason == "BadCertificate"


def test_another_ca_and_another_name_are_not_believed(secured: Secured, tmp_path: Path) -> None:
    other = TransportCA.create(tmp_path / "other", "u", NOW + DAY, SeededEntropy(2), now=NOW).pem.decode()
    with pytest.raises(UntrustedError, match=f"fingerprint is {Tls(ca=other).fingerprint}.*another fleet's broker"):
        secured.link("dev-1", tls=Tls(ca=other))
    with pytest.raises(UntrustedError, match=r"not for the name localhost.*--name localhost"):
        secured.link("dev-1", host="localhost")
    named = secured.link("dev-1", host="localhost", tls=Tls(ca=secured.pem, name="broker.example"))
    assert named.connected
    own = ssl.create_default_context(cadata=secured.pem)
    assert secured.link("dev-2", tls=own).connected, "a caller's own context does as well"
    with greeted(secured.address("dev-1"), 5) as found:
        assert found.getpeercert()
    with pytest.raises(UntrustedError, match="another fleet's"):
        greeted(secured.address("dev-1", tls=Tls(ca=other)), 5)


@pytest.mark.parametrize("ca", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_pinned_ca_must_be_one(ca: str, secured: Secured, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"take `ca\.pem` of the fleet"):
        Tls(ca=ca)
    with pytest.raises(UsageError, match="give both, or neither"):
        Tls(ca=secured.pem, key=tmp_path / "key")
    other = TransportCA.create(tmp_path / "other", "u", NOW + DAY, SeededEntropy(2), now=NOW).pem.decode()
    both = Tls(ca=other + secured.pem)
    assert both.fingerprint == Tls(ca=other).fingerprint
    assert secured.link("dev-1", tls=both).connected, "while one takes the place of another, both are believed"


def test_who_speaks_no_tls_is_named(tmp_path: Path) -> None:
    pem = TransportCA.create(tmp_path / "ca", "t", NOW, SeededEntropy(1), now=NOW).pem.decode()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client = server.accept()[0]
            client.recv(1_000)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        address = Address(host="127.0.0.1", port=port, client_id="d", password="p", tls=Tls(ca=pem))
        with pytest.raises(UnreachableError, match=r"speaks no TLS.*the port without TLS"):
            MqttLink(address, entropy=SystemEntropy())
        thread.join(10)


@pytest.mark.parametrize(
    ("code", "now", "says"),
    [
        (9, 86_400 * 2, "clock says 1970-01-03.*NTP"),
        (10, 1_900_000_000, "has ended, as this machine's clock says 2030-03-17.*accord fleet tls"),
        (62, 0, "not for the name b.example"),
        (64, 0, "not for the name b.example"),
        (20, 0, "fingerprint"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_told_with_what_to_do(
    code: int, now: float, says: str, tmp_path: Path
) -> None:
    tls = Tls(ca=TransportCA.create(tmp_path / "ca", "t", NOW, SeededEntropy(1), now=NOW).pem.decode())
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "why"
    found = explained(error, "b.example:8883", "b.example", tls, lambda: now)
    assert isinstance(found, UntrustedError)
    assert re.search(says, str(found))


def test_a_renewed_certificate_is_shown_at_the_next_connection(secured: Secured) -> None:
    certificate, key = secured.certificate("dev-1", 7)
    link = secured.link("dev-1", 1, tls=Tls(ca=secured.pem, certificate=certificate, key=key))
    own = link._client._ssl_context
    assert own is not None
    before = own._stamps
    secured.certificate("dev-1", 8)
    secured.process.stop()
    until(lambda: not link.connected, "the link notices")
    secured.process.start()
    until(lambda: link.connections == 2, "the link comes back", 60)
    assert own._stamps != before


def test_who_is_taken_out_at_the_broker_is_sent_away_while_it_runs(secured: Secured) -> None:
    certificate, key = secured.certificate("dev-1")
    gone = secured.link("dev-1", 1, tls=Tls(ca=secured.pem, certificate=certificate, key=key))
    stays = secured.link("dev-2")
    mosquitto.remove(secured.state, ["dev-1"])
    secured.process.reload()
    until(lambda: not gone.connected and gone.refusal != "", "it is sent away, and not let in again", 60)
    assert "was it enrolled there, or revoked?" in gone.refusal
    assert stays.connections == 1
    assert stays.connected


class Doorkeeper(http.server.BaseHTTPRequestHandler):
    """An HTTP proxy that lets out by CONNECT, with a login."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        if self.headers.get("Proxy-Authorization") != "Basic bWU6c2VjcmV0":
            self.send_error(407)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port))) as broker:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(broker, self.connection))
            back.start()
            pump(self.connection, broker)
            back.join(10)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    Doorkeeper.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Proxy(host="127.0.0.1", port=server.server_address[1], login="me:secret")
        server.shutdown()
        thread.join(10)


def test_a_device_gets_out_through_a_proxy_and_a_websocket(secured: Secured, proxy: Proxy) -> None:
    aggregator = secured.link("aggregator")
    link = secured.link("dev-1", 2, proxy=proxy)
    carried(aggregator, link)
    assert Doorkeeper.asked == [f"127.0.0.1:{secured.listeners[2].port}"]
    assert "secret" not in repr(proxy)
    link.close()
    with pytest.raises(UnreachableError, match=r"does not let us out: .*407"):
        secured.link("dev-1", 2, proxy=dataclasses.replace(proxy, login=""))
    with pytest.raises(UnreachableError, match=r"through the proxy 127\.0\.0\.1:1 "):
        secured.link("dev-1", proxy=Proxy(host="127.0.0.1", port=1))


def test_a_proxy_is_asked_for_an_ipv6_address_in_brackets(proxy: Proxy) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as broker:
        port = broker.getsockname()[1]
        through(proxy, "::1", port, 10).close()
    assert Doorkeeper.asked == [f"[::1]:{port}"]
