"""The broker of a fleet on this machine: one of those that Accord carries or configures, started, hurt and stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder
from broker import mosquitto
from broker.process import free_port

if TYPE_CHECKING:
    from broker.nats_processes import Nats

BROKERS = ("embedded", "mosquitto", "nats")
NODES = 3
"""Of NATS: one may be lost."""
_START = 20.0  # seconds


class RigBroker:
    """One broker on loopback.

    Args:
        kind: one of `BROKERS`.
        folder: where its state lies.
        tenant: whose topics it carries.
        passwords: of every client.
    """

    def __init__(self, kind: str, folder: Path, tenant: str, passwords: Mapping[str, str]) -> None:
        if kind not in BROKERS:
            raise UsageError(f"--broker {kind} is unknown: use {', '.join(BROKERS[:-1])} or {BROKERS[-1]}")
        self.host, self.port = "127.0.0.1", 0
        self._others: tuple[int, ...] = ()
        self._kind, self._folder, self._tenant, self._passwords = kind, folder, tenant, passwords
        self._embedded: subprocess.Popen[bytes] | None = None
        self._mosquitto: mosquitto.Mosquitto | None = None
        self._nats: Nats | None = None

    @property
    def table(self) -> str:
        """The lines of a client's table `[broker]` that say where it is."""
        lines = [f'host = "{self.host}"', f"port = {self.port}"]
        if self._nats is not None:
            lines.append('session = "derived"')
            lines.append(f"others = {json.dumps([f'{self.host}:{port}' for port in self._others])}")
        return "\n".join([*lines, ""])

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            UsageError: it is not installed, or did not start.
        """
        match self._kind:
            case "mosquitto":
                mosquitto.write(self._folder, self._tenant, self._passwords, SystemEntropy())
                self.port = free_port()
                self._mosquitto = mosquitto.Mosquitto(self._folder, self.port)
                self._mosquitto.start()
            case "nats":
                from broker.nats_processes import Nats  # noqa: PLC0415 - bcrypt is needed for this broker only

                self._nats = Nats(self._folder, self._tenant, self._passwords, SystemEntropy(), nodes=NODES)
                self._nats.start()
                self.port, *others = self._nats.ports
                self._others = tuple(others)
            case _:
                self._start_embedded()

    def kill_node(self) -> None:
        """Kill one of NATS's nodes with SIGKILL; it stays away."""
        if self._nats is not None:
            self._nats.kill(NODES - 1)

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

    def _start_embedded(self) -> None:
        from broker import credentials  # noqa: PLC0415 - amqtt is needed for this broker only

        state, log = make_folder(self._folder), self._folder.parent / "broker.log"
        credentials.write(state / "clients", self._passwords, SystemEntropy())
        words = ["broker", "run", "--state", str(state), "--tenant", self._tenant, "--port", "0", "--insecure"]
        with log.open("ab") as file:
            self._embedded = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "accord", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        port, until = state / "broker.port", time.monotonic() + _START
        while not port.exists():
            if time.monotonic() > until or self._embedded.poll() is not None:
                raise UsageError(f"the broker did not start: look at {log}")
            time.sleep(0.05)
        self.port = int(port.read_text())
