"""The broker of a fleet on this machine: one of those that Accord carries or configures, started, hurt and stopped."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from aggregator.fleet_folder import TLS_CERTIFICATE, TLS_KEY, FleetFolder
from aggregator.up_broker import listeners
from broker import mosquitto
from broker.config import Listener, Tls
from broker.process import free_port

if TYPE_CHECKING:
    from broker.nats_processes import Nats

BROKERS = ("embedded", "mosquitto", "nats")
NODES = 3
"""Of NATS: one may be lost."""
HURT = {
    "mosquitto": "the broker was started anew in the middle of the round; its clients came back",
    "nats": "killed: one of the broker's three nodes in the middle of the round; its clients went on",
}
"""What `hurt` does, in words; the embedded broker keeps nothing on disk, and is left alone."""
_START = 20.0  # seconds


class RigBroker:
    """One broker on loopback: `port` is for logins by password, `mutual_port` for clients' certificates, 0 for nowhere.

    Args:
        kind: one of `BROKERS`.
        folder: where its state lies.
        tenant: whose topics it carries.
        fleet: whose clients may log in, and whose TLS files it shows.
        tls: whether there is TLS.

    Raises:
        UsageError: the broker is unknown.
    """

    def __init__(self, kind: str, folder: Path, tenant: str, fleet: FleetFolder, *, tls: bool) -> None:
        if kind not in BROKERS:
            raise UsageError(f"--broker {kind} is unknown: use {', '.join(BROKERS[:-1])} or {BROKERS[-1]}")
        self.host, self.port, self.mutual_port = "127.0.0.1", 0, 0
        self._others: tuple[int, ...] = ()
        self._kind, self._folder, self._tenant, self._fleet, self._tls = kind, folder, tenant, fleet, tls
        self._embedded: subprocess.Popen[bytes] | None = None
        self._mosquitto: mosquitto.Mosquitto | None = None
        self._nats: Nats | None = None

    def aggregator_table(self) -> str:
        """Return the table `[broker]` of an aggregator's configuration."""
        return "\n".join([*self._table(), *([self._mutual] if self.mutual_port else []), ""])

    def device_table(self, name: str) -> str:
        """Return the table `[broker]` of a device; with TLS it pins the CA, and has a certificate to show."""
        folder, lines = self._fleet.device(name), self._table()
        lines.append(f'password = "{folder / "password"}"')
        if self._tls:
            lines.append(f'ca = "{self._fleet.tls.ca}"')
        if self.mutual_port:
            lines += [
                self._mutual,
                f'tls_certificate = "{folder / TLS_CERTIFICATE}"',
                f'tls_key = "{folder / TLS_KEY}"',
            ]
        return "\n".join([*lines, ""])

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            UsageError: it is not installed, or did not start.
        """
        match self._kind:
            case "mosquitto":
                self._start_mosquitto()
            case "nats":
                from broker.nats_processes import Nats  # noqa: PLC0415 - bcrypt is needed for this broker only

                # One listener for each node is all that NATS has: everybody shows a certificate.
                tls = self._asking if self._tls else None
                passwords = self._fleet.passwords()
                self._nats = Nats(self._folder, self._tenant, passwords, SystemEntropy(), nodes=NODES, tls=tls)
                self._nats.start()
                self.port, *others = self._nats.ports
                self.mutual_port, self._others = self.port if self._tls else 0, tuple(others)
            case _:
                self._start_embedded()

    def hurt(self) -> None:
        """Kill one of NATS's nodes with SIGKILL, which stays away; or start Mosquitto anew."""
        if self._nats is not None:
            self._nats.kill(NODES - 1)
        if self._mosquitto is not None:
            self._mosquitto.stop()
            self._mosquitto.start()

    def stop(self) -> None:
        """Stop it, politely and then not."""
        if self._embedded is not None:
            self._embedded.terminate()
            try:
                self._embedded.wait(5)
            except subprocess.TimeoutExpired:
                self._embedded.kill()
                self._embedded.wait()
        for one in (self._mosquitto, self._nats):
            if one is not None:
                one.stop()

    @property
    def _mutual(self) -> str:
        return f"mutual_port = {self.mutual_port}"

    @property
    def _files(self) -> Tls:
        return Tls(certificate=self._fleet.tls.server, key=self._fleet.tls.server_key)

    @property
    def _asking(self) -> Tls:
        return Tls(certificate=self._files.certificate, key=self._files.key, clients=self._fleet.tls.ca)

    def _table(self) -> list[str]:
        """Return the lines of a client's table `[broker]` that say where it is."""
        lines = ["[broker]", f'host = "{self.host}"', f"port = {self.port}"]
        if not self._tls:
            lines.append("insecure = true")
        if self._nats is not None:
            lines.append('session = "unqueued"')
            lines.append(f"others = {json.dumps([f'{self.host}:{port}' for port in self._others])}")
        return lines

    def _start_mosquitto(self) -> None:
        mosquitto.write(self._folder, self._tenant, self._fleet.passwords(), SystemEntropy())
        self.port = free_port()
        where = [Listener(port=self.port, tls=self._files if self._tls else None, insecure=not self._tls)]
        if self._tls:
            self.mutual_port = free_port()
            where.append(Listener(port=self.mutual_port, tls=replace(self._asking, revoked=self._fleet.revoked)))
        self._mosquitto = mosquitto.Mosquitto(self._folder, *where)
        self._mosquitto.start()

    def _start_embedded(self) -> None:
        from broker import credentials  # noqa: PLC0415 - amqtt is needed for this broker only

        state, log = make_folder(self._folder), self._folder.parent / "broker.log"
        credentials.write(state / "clients", self._fleet.passwords(), SystemEntropy())
        config, tls = self._folder.parent / "broker.toml", self._fleet.tls if self._tls else None
        where = (self.host, 0, None if tls is None else 0)
        write_atomic(config, listeners(state, self._tenant, where, tls).encode())
        said = self._folder.parent / "broker.said"
        with log.open("ab") as file, said.open("wb") as output:
            self._embedded = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "accord", "broker", "run", "--config", str(config), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=file,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        until = time.monotonic() + _START
        while not said.read_bytes().endswith(b"\n"):
            if time.monotonic() > until or self._embedded.poll() is not None:
                raise UsageError(f"the broker did not start: look at {log}")
            time.sleep(0.05)
        found = json.loads(said.read_text())
        if "listeners" not in found:
            raise UsageError(f"the broker did not start: {found.get('error', log)}")
        self.port, self.mutual_port, *_ = (*(one["port"] for one in found["listeners"]), 0)
