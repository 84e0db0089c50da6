"""NATS as subprocesses on loopback: one server, or a cluster of three of which one may be killed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from accord.entropy import Entropy
from accord.files import make_folder, write_atomic
from broker import nats
from broker.endpoint import Endpoint, Tls
from broker.process import Process, free_port, installed

HOST = "127.0.0.1"
START = 30.0  # seconds


class Nats:
    """Debian's nats-server: `nodes` of them, which take MQTT at `ports`.

    Args:
        state: their folder; what they keep is in it.
        tenant: whose topics they carry.
        passwords: of every client.
        entropy: for salts and the password between nodes.
        nodes: 1, or 3 for a cluster that carries the loss of one.
        tls: of the MQTT listeners; None for plain MQTT.

    Raises:
        UsageError: NATS is not installed, or a name has a dot.
    """

    def __init__(
        self,
        state: Path,
        tenant: str,
        passwords: Mapping[str, str],
        entropy: Entropy,
        *,
        nodes: int = 1,
        tls: Tls | None = None,
    ) -> None:
        binary = installed("nats-server")
        self.host = HOST
        self.ports = tuple(free_port() for _ in range(nodes))
        routes = [f"{HOST}:{free_port()}" for _ in range(nodes)]
        secret = entropy(24).hex()
        self._nodes: list[Process] = []
        known = nats.users(tenant, passwords, entropy)
        for at, port in enumerate(self.ports):
            folder = make_folder(state / f"node-{at + 1}")
            others = [route for route in routes if route != routes[at]]
            node = nats.Node(
                name=folder.name,
                endpoint=Endpoint(host=HOST, port=port, tls=tls),
                own_port=free_port(),
                store=str(folder / "kept"),
                log=str(folder / "nats.log"),
            )
            if others:
                node = replace(node, cluster_listen=routes[at], routes=others, route_password=secret)
            write_atomic(folder / nats.USERS, known.encode())
            write_atomic(folder / "nats.conf", nats.configuration(node, tenant).encode())
            words = [binary, "-c", str(folder / "nats.conf")]
            self._nodes.append(Process(words, HOST, port, folder / "nats.log"))

    def start(self) -> None:
        """Start every node and wait until all of them take connections.

        Raises:
            UsageError: one did not start.
        """
        for node in self._nodes:
            node.launch()
        for node in self._nodes:
            node.ready(START)

    def kill(self, at: int) -> None:
        """End one node with SIGKILL."""
        self._nodes[at].kill()

    def stop(self) -> None:
        """Stop every node and wait until they are gone."""
        for node in self._nodes:
            node.stop()
