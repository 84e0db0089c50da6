"""NATS under our rules: the configuration of one server or of each node of a cluster, and who may log in, as text.

NATS keys a session by its MQTT client id and does not ask whose it is: clients of a server with this configuration
log in with `session = "unqueued"` (`accord.link.session`), and user names alone give rights.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bcrypt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.ids import checked_name
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker.config import Listener, Tls

LARGEST_PACKET = LARGEST_PAYLOAD + 4_096  # bytes: the link's largest payload, its topic, and what NATS adds
COST = 4  # bcrypt's, 2**4 rounds: passwords are 24 random bytes, and a thousand devices may come back at once
ACK_WAIT = 5  # seconds until what nobody acknowledged is sent again
IN_FLIGHT = 64  # unacknowledged letters of one subscription
MOST_WAITING = 64 << 20  # bytes on their way to one client; then it is cut
FORGOTTEN = "1h"  # what waits for a client that is away
USERS, ROUTES = "nats-users.conf", "nats-routes.conf"
"""The files beside nats.conf that hold secrets."""
_INNER = "$MQTT.sub.>"
"""Where JetStream hands QoS 1 letters to the server for a client. No client can subscribe there over MQTT."""

_BCRYPT = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
)
"""From base64's alphabet to bcrypt's."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One server: its name, where clients and other nodes reach it, and what it keeps where.

    `cluster_listen` is where other nodes reach it; empty for a server of its own, and `nodes` is then 1. NATS can't do
    without a port for its own protocol: it is on loopback, and nobody may log in there. So is the port by which it is
    watched (`/healthz`, `/jsz`, `/connz`).
    """

    name: str
    listener: Listener
    own_port: int
    watch_port: int
    store: str
    log: str = ""
    cluster_listen: str = ""
    cluster_tls: Tls | None = None
    nodes: int = 1

    def __post_init__(self) -> None:
        checked_name(self.name, "server name")


def subjects(grants: Sequence[str], *, heard: bool) -> list[str]:
    """Return the NATS subjects of topic filters: `.` for `/`, `*` for `+`, `>` for `#`.

    Args:
        grants: filters of MQTT.
        heard: whether they are for subscribing: for a filter that ends with `#`, NATS then also asks for its parent.
    """
    found = []
    for grant in grants:
        subject = grant.replace("/", ".").replace("+", "*").replace("#", ">")
        found.append(subject)
        if heard and subject.endswith(".>"):
            found.append(subject[:-2])
    return found


def checked(name: str, what: str) -> str:
    """Return a name that can stand in a topic on NATS before 2.10, which closes the connection at a dot.

    Raises:
        UsageError: it has a dot.
        CodecError: it is no name.
    """
    if "." in checked_name(name, what):
        raise UsageError(f"{what} {name!r} has a dot, which NATS before 2.10 does not take in a topic: choose another")
    return name


def hashed(password: str, salt: bytes) -> str:
    """Return a password as NATS keeps it: bcrypt, `$2a$`, with a salt of 16 bytes."""
    drawn = base64.b64encode(salt)[:22].translate(_BCRYPT)
    return bcrypt.hashpw(password.encode(), b"$2a$%02d$%s" % (COST, drawn)).decode()


def users(tenant: str, passwords: Mapping[str, str], entropy: Entropy, *, certified: bool = False) -> str:
    """Return the file of who may log in, and what each may do; a running server reads it again at SIGHUP.

    Args:
        tenant: whose topics are carried.
        passwords: of every client.
        entropy: for salts.
        certified: whether a client is who its certificate says (`verify_and_map`), by its name as NATS writes it. It
            says its password, too.

    Raises:
        UsageError: a name has a dot.
        CodecError: a name is none.
    """
    checked(tenant, "tenant")
    lines = ["# Made by Accord from its topic rules. Who is taken out is cut at the next SIGHUP.", "users: ["]
    for client, password in sorted(passwords.items()):
        checked(client, "client id")
        publish = subjects(topics.grants(client, tenant, "publish"), heard=False)
        subscribe = [*subjects(topics.grants(client, tenant, "subscribe"), heard=True), _INNER]
        user = f"CN={client}" if certified else client
        lines += [
            f"  {{ user: {_text(user)}, password: {_text(hashed(password, entropy(16)))},",
            '    allowed_connection_types: ["MQTT"],',
            f"    permissions: {{ publish: {{ allow: {json.dumps(publish)} }},",
            f"      subscribe: {{ allow: {json.dumps(subscribe)} }} }} }}",
        ]
    return "\n".join([*lines, "]", ""])


def configuration(node: Node, tenant: str) -> str:
    """Return nats.conf of one server; the users lie beside it, in `nats-users.conf`."""
    lines = [
        '# Made by Accord from its topic rules. Clients need `session = "unqueued"` under [broker].',
        f"server_name: {_text(node.name)}",
        "# NATS's own protocol: nobody may log in there, as every user is for MQTT alone.",
        f"listen: {_text(f'127.0.0.1:{node.own_port}')}",
        f"http: {_text(f'127.0.0.1:{node.watch_port}')}",
        f"max_payload: {LARGEST_PACKET}",
        f"max_pending: {MOST_WAITING}",
        'write_deadline: "10s"',
        "max_connections: 10000",
        *([f"log_file: {_text(node.log)}"] if node.log else []),
        "jetstream {",
        f"  store_dir: {_text(node.store)}",
        "  max_memory_store: 256MB",
        "  max_file_store: 4GB",
        "}",
        "mqtt {",
        f"  listen: {_text(_at(node.listener.host, node.listener.port))}",
        f'  ack_wait: "{ACK_WAIT}s"',
        f"  max_ack_pending: {IN_FLIGHT}",
        f"  consumer_inactive_threshold: {_text(FORGOTTEN)}",
        *([f"  stream_replicas: {node.nodes}"] if node.cluster_listen else []),
        *_tls(node.listener.tls, "  ", mapped=True),
        "}",
    ]
    if node.cluster_listen:
        lines += [
            "cluster {",
            f"  name: {_text(checked(tenant, 'tenant'))}",
            f"  listen: {_text(node.cluster_listen)}",
            f"  include ./{ROUTES}",
            *_tls(node.cluster_tls, "  "),
            "}",
        ]
    lines += [
        "accounts {",
        f"  {_text(checked(tenant, 'tenant'))}: {{",
        "    jetstream: enabled",
        f"    include ./{USERS}",
        "  }",
        "}",
        "",
    ]
    return "\n".join(lines)


def routes(others: Sequence[str], password: str) -> str:
    """Return the file of how a node reaches the others: their addresses, and the password that all of them share."""
    lines = [
        "# Made by Accord. Every node has the same password here.",
        f"authorization {{ user: node, password: {_text(password)}, timeout: 5 }}",
        "routes: [",
        *[f"  {_text(f'nats://node:{password}@{other}')}" for other in others],
        "]",
    ]
    return "\n".join([*lines, ""])


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(tls: Tls | None, margin: str, *, mapped: bool = False) -> list[str]:
    if tls is None:
        return []
    verify = "verify_and_map" if mapped else "verify"
    asked = [f"  ca_file: {_text(str(tls.clients))}", f"  {verify}: true"] if tls.clients is not None else []
    lines = ["tls {", f"  cert_file: {_text(str(tls.certificate))}", f"  key_file: {_text(str(tls.key))}", *asked]
    return [margin + line for line in [*lines, "  timeout: 10", "}"]]


def _text(value: str) -> str:
    """Return a string of NATS's configuration, whose escapes are JSON's."""
    return json.dumps(value)
