"""NATS as subprocesses on loopback: one server, or a cluster of three of which one may be killed."""

import json
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from broker import nats
from broker.config import Listener, Tls
from broker.process import Process, free_port, installed

HOST = "127.0.0.1"
START = 30.0  # seconds
_LARGEST = 1 << 20  # bytes of an answer


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
        binary, self._state, self._tenant = installed("nats-server"), state, tenant
        self.host = HOST
        self.ports = tuple(free_port() for _ in range(nodes))
        routes = [f"{HOST}:{free_port()}" for _ in range(nodes)]
        self._watch = [free_port() for _ in range(nodes)]
        secret = entropy(24).hex()
        self._nodes: list[Process] = []
        self._certified = tls is not None and tls.clients is not None
        known = nats.users(tenant, passwords, entropy, certified=self._certified)
        for at, port in enumerate(self.ports):
            folder = make_folder(state / f"node-{at + 1}")
            others = [route for route in routes if route != routes[at]]
            node = nats.Node(
                name=folder.name,
                listener=Listener(host=HOST, port=port, tls=tls, insecure=tls is None),
                own_port=free_port(),
                watch_port=self._watch[at],
                store=str(folder / "kept"),
                log=str(folder / "nats.log"),
            )
            if others:
                node = replace(node, cluster_listen=routes[at], nodes=nodes)
                write_atomic(folder / nats.ROUTES, nats.routes(others, secret).encode())
            write_atomic(folder / nats.USERS, known.encode())
            write_atomic(folder / "nats.conf", nats.configuration(node, tenant).encode())
            words = [binary, "-c", str(folder / "nats.conf")]
            self._nodes.append(Process(words, HOST, port, folder / "nats.log"))

    def start(self) -> None:
        """Start every node and wait until all of them take connections, and a cluster has found its leader.

        Raises:
            UsageError: one did not start.
        """
        for node in self._nodes:
            node.launch()
        for node in self._nodes:
            node.ready(START)
        until = time.monotonic() + START
        while len(self._nodes) > 1 and not any(self._leads(port) for port in self._watch):
            if time.monotonic() > until:
                self.stop()
                raise UsageError(
                    f"the {len(self._nodes)} nodes of NATS found no leader in {START:.0f} s: look at {self._state}"
                )
            time.sleep(0.1)

    def _leads(self, port: int) -> bool:
        """Return whether a node leads the cluster and every other one is up with it."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/jsz", timeout=2) as answer:
                found = json.loads(answer.read(_LARGEST)).get("meta_cluster", {})
        except (OSError, ValueError):
            return False
        others = found.get("replicas", [])
        return len(others) == len(self._nodes) - 1 and all(one.get("current") for one in others)

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the nodes' processes."""
        return tuple(node.pid for node in self._nodes)

    def let_in(self, passwords: Mapping[str, str], entropy: Entropy) -> None:
        """Change who may log in while the nodes run; who is taken out is cut."""
        known = nats.users(self._tenant, passwords, entropy, certified=self._certified).encode()
        for at, node in enumerate(self._nodes):
            write_atomic(self._state / f"node-{at + 1}" / nats.USERS, known)
            node.reload()

    def kill(self, at: int) -> None:
        """End one node with SIGKILL."""
        self._nodes[at].kill()

    def stop(self) -> None:
        """Stop every node and wait until they are gone."""
        for node in self._nodes:
            node.stop()
