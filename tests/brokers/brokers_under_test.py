"""Brokers as subprocesses on free ports, each with two devices and the aggregator enrolled, and clients of them."""

import subprocess
import sys
from pathlib import Path

from authority import Authority
from raw_client import RawClient, connect

from accord.entropy import SystemEntropy
from accord.files import make_folder
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
from accord.link.session import session_id
from broker import credentials, mosquitto
from broker.config import Listener, Tls
from broker.nats_processes import Nats
from broker.process import free_port
from tests.waiting import until

CERTIFIED = ("a_certificate_names_its_client", "a_client_id_that_is_not_the_certificates_name_opens_no_session")
"""Stories in which every client shows a certificate."""
KINDS = ("embedded", "mosquitto", "nats")
TENANT = "t"
PASSWORDS = {"aggregator": "a" * 20, "dev-1": "b" * 20, "dev-2": "c" * 20, "dev.3": "d" * 20}


class BrokerUnderTest:
    """One broker that can be restarted on its port, and clients of it."""

    host = "127.0.0.1"

    def __init__(self, kind: str, state: Path, authority: Authority | None = None) -> None:
        self.kind, self.state, self.port = kind, make_folder(state), free_port()
        self.session = "derived" if kind == "nats" else "plain"
        self._passwords = dict(PASSWORDS)
        self._links: list[MqttLink] = []
        self._raw: list[RawClient] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._authority, tls = authority, None
        if authority is not None:
            certificate, key = authority.pair("localhost")
            revoked = None if kind == "nats" else authority.revoke()
            tls = Tls(certificate=certificate, key=key, clients=authority.path, revoked=revoked)
        self._listener = Listener(port=self.port, tls=tls, insecure=tls is None)
        if kind == "mosquitto":
            mosquitto.write(state, TENANT, PASSWORDS, SystemEntropy())
            self._mosquitto = mosquitto.Mosquitto(state, self._listener)
        elif kind == "nats":
            del self._passwords["dev.3"]
            self._nats = Nats(state, TENANT, self._passwords, SystemEntropy(), tls=tls)
            self.port = self._nats.ports[0]
        else:
            credentials.write(state / "clients", PASSWORDS, SystemEntropy())

    def start(self) -> None:
        if self.kind == "mosquitto":
            self._mosquitto.start()
        elif self.kind == "nats":
            self._nats.start()
        else:
            (self.state / "broker.port").unlink(missing_ok=True)
            words = ["run", "--state", str(self.state), "--tenant", TENANT, "--port", str(self.port)]
            tls = self._listener.tls
            words += (
                ["--insecure"]
                if tls is None
                else [
                    word
                    for name in ("certificate", "key", "clients", "revoked")
                    for word in (f"--{name}", getattr(tls, name))
                ]
            )
            self._process = subprocess.Popen(
                [sys.executable, "-m", "accord", "broker", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            until((self.state / "broker.port").exists, "the broker listens", 20)

    def stop(self) -> None:
        if self.kind == "mosquitto":
            self._mosquitto.stop()
        elif self.kind == "nats":
            self._nats.stop()
        elif self._process is not None:
            self._process.terminate()
            assert self._process.wait(10) == 0

    @property
    def pid(self) -> int:
        if self.kind == "embedded":
            assert self._process is not None
            return self._process.pid
        process = self._mosquitto._process if self.kind == "mosquitto" else self._nats._nodes[0]
        assert process._process is not None
        return process._process.pid

    @property
    def memory(self) -> int:
        """Bytes of the broker's memory that lie in it now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4_096

    def revoke(self, client: str) -> None:
        """Take a client out while the broker runs."""
        del self._passwords[client]
        if self.kind == "embedded":
            credentials.remove(self.state / "clients", [client])
        elif self.kind == "mosquitto":
            mosquitto.remove(self.state, [client])
            self._mosquitto.reload()
        else:
            self._nats.let_in(self._passwords, SystemEntropy())

    def client_id(self, client: str) -> str:
        """The MQTT client id under which the broker keeps a client's session."""
        return session_id(client, PASSWORDS[client], self.session)

    def link(self, client: str, will: Will | None = None, password: str = "", *, settled: bool = False) -> MqttLink:
        address = Address(
            host=self.host,
            port=self.port,
            client_id=client,
            password=password or PASSWORDS[client],
            session=self.session,
        )
        found = MqttLink(address, entropy=SystemEntropy(), will=will, settled=settled)
        self._links.append(found)
        return found

    def raw(
        self, client: str, *, as_session_of: str = "", password: str = "", shows: str = "", **more: object
    ) -> "Session":
        """Log in byte by byte.

        `as_session_of` presents another's MQTT client id, with our own credentials; `shows` another's certificate.
        """
        tls = None if self._authority is None else self._authority.client(shows or client)
        password = password or PASSWORDS[client]
        shown = as_session_of or self.client_id(client)
        for left in reversed(range(5)):
            found = Session(self.port, shown, client, password, tls=tls, **more)
            self._raw.append(found)
            # NATS hangs up on a client id that was taken over a second ago: its client tries again, as a link does.
            if found.code is not None or not left:
                break
        return found

    def close(self) -> None:
        for raw in self._raw:
            raw.vanish()
        for link in self._links:
            link.close()
        self.stop()


class Session(RawClient):
    """A connection that has said CONNECT; `code` is what came back, None where nothing did."""

    def __init__(self, port: int, shown: str, client: str, password: str, **more: object) -> None:
        super().__init__(port, more.pop("tls", None), receive_buffer=int(more.pop("receive_buffer", 0)))
        self.send(connect(shown, password, username=client, **more))
        found = self.next(20)
        assert found is None or found[0] == 0x20
        self.code = None if found is None else found[1][1]
        self.present = found is not None and found[1][0] == 1
