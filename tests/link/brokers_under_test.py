"""Brokers as subprocesses on free ports, each with two devices and the aggregator enrolled."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.files import make_folder
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
from broker import credentials, mosquitto

TENANT = "t"
PASSWORDS = {"aggregator": "a" * 20, "dev-1": "b" * 20, "dev-2": "c" * 20}


class RealBroker:
    """One broker that can be restarted on its port, and links to it."""

    host = "127.0.0.1"

    def __init__(self, kind: str, state: Path) -> None:
        self.kind, self.state, self.port = kind, make_folder(state), mosquitto.free_port()
        self._links: list[MqttLink] = []
        self._process: subprocess.Popen[bytes] | None = None
        if kind == "mosquitto":
            mosquitto.write(state, TENANT, PASSWORDS, SystemEntropy())
            self._mosquitto = mosquitto.Mosquitto(state, self.port)
        else:
            credentials.write(state / "clients", PASSWORDS, SystemEntropy())

    def start(self) -> None:
        if self.kind == "mosquitto":
            self._mosquitto.start()
            return
        (self.state / "broker.port").unlink(missing_ok=True)
        words = [
            "broker",
            "run",
            "--state",
            str(self.state),
            "--tenant",
            TENANT,
            "--port",
            str(self.port),
            "--insecure",
        ]
        self._process = subprocess.Popen([sys.executable, "-m", "accord", *words], stderr=subprocess.DEVNULL)
        until((self.state / "broker.port").exists, "the broker listens", 20)

    def stop(self) -> None:
        if self.kind == "mosquitto":
            self._mosquitto.stop()
        elif self._process is not None:
            self._process.terminate()
            assert self._process.wait(10) == 0

    def link(self, client: str, will: Will | None = None, **changes: str) -> MqttLink:
        address = Address(
            host=self.host,
            port=self.port,
            client_id=changes.get("client_id", client),
            password=changes.get("password", PASSWORDS[client]),
        )
        found = MqttLink(address, entropy=SystemEntropy(), will=will)
        self._links.append(found)
        return found

    def close(self) -> None:
        for link in self._links:
            link.close()
        self.stop()


def until(done: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait for a condition, and fail with its name."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not done():
        assert time.monotonic() < end, f"in {seconds} s it did not come true that {what}"
        pause.wait(0.01)
