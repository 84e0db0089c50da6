"""Mosquitto under our rules: configuration, access list and passwords from the topic rules, and a process for tests.

Every client's name is its client id (`use_username_as_clientid`), so nobody takes over a neighbour's session. Where a
listener asks for certificates a client shows one beside its password: taken out of the password file, it is sent away
at the next reload, which Mosquitto does not do for a certificate that is revoked.
"""

import base64
import getpass
import hashlib
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from accord.entropy import Entropy
from accord.files import make_folder, read_private, write_atomic
from accord.ids import AGGREGATOR, checked_name
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker.config import Listener
from broker.process import Process, installed

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes: the link's largest payload and its topic
LARGEST = 1 << 24  # bytes of the password file
PASSWORDS = "mosquitto.passwords"
ITERATIONS = 101  # of PBKDF2, mosquitto_passwd's default; passwords here are 24 random bytes


def hashed(password: str, salt: bytes) -> str:
    """Return a password as mosquitto keeps it: `$7$`, PBKDF2-HMAC-SHA512 (RFC 8018)."""
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def access_list(tenant: str) -> str:
    """Return the access list: the aggregator's grants by name, every device's by its own id."""
    lines = [f"user {AGGREGATOR}"]
    for action, word in (("publish", "write"), ("subscribe", "read")):
        lines += [f"topic {word} {grant}" for grant in topics.grants(AGGREGATOR, tenant, _action(action))]
    # `%c` is the client id. A pattern is for every client; the aggregator's own id has no `dev/` topics to gain by it.
    lines.append("")
    for action, word in (("publish", "write"), ("subscribe", "read")):
        grants = topics.grants("device", tenant, _action(action))
        lines += [f"pattern {word} {grant.replace('/device/', '/%c/')}" for grant in grants]
    return "\n".join(lines) + "\n"


def _action(name: str) -> topics.Action:
    return "publish" if name == "publish" else "subscribe"


def configuration(state: Path, *listeners: Listener) -> str:
    """Return mosquitto.conf; passwords and access list lie in `state`."""
    # As root it would change to the user `mosquitto`, who can't read our private files.
    return f"""# Made by Accord from its topic rules.
user {getpass.getuser()}
per_listener_settings false
allow_anonymous false
password_file {state / PASSWORDS}
acl_file {state / "mosquitto.acl"}
use_username_as_clientid true
max_packet_size {LARGEST_PACKET}
max_inflight_messages 16
max_queued_messages 1000
set_tcp_nodelay true
persistence true
persistence_location {state}/
autosave_interval 60
log_dest file {state / "mosquitto.log"}
log_type error
log_type warning
log_type notice
connection_messages true
""" + "".join(_listener(one) for one in listeners)


def _listener(one: Listener) -> str:
    lines = [f"listener {one.port} {one.host}"]
    if one.websocket:
        lines.append("protocol websockets")
    if one.tls is not None:
        lines += [f"certfile {one.tls.certificate}", f"keyfile {one.tls.key}", "tls_version tlsv1.2"]
        if one.tls.clients is not None:
            lines += [f"cafile {one.tls.clients}", "require_certificate true"]
    return "\n".join([*lines, ""])


def write(state: Path, tenant: str, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the access list and the password file of `state`, 0600 both."""
    make_folder(state)
    lines = [f"{checked_name(name, 'client id')}:{hashed(text, entropy(12))}" for name, text in passwords.items()]
    write_atomic(state / PASSWORDS, ("\n".join(lines) + "\n").encode())
    write_atomic(state / "mosquitto.acl", access_list(checked_name(tenant, "tenant")).encode())


def remove(state: Path, clients: Iterable[str]) -> None:
    """Take clients out of the password file of `state`; a running Mosquitto sends them away when it is reloaded."""
    unwanted, path = set(clients), state / PASSWORDS
    lines = read_private(path, LARGEST).decode().splitlines()
    kept = [line for line in lines if line.partition(":")[0] not in unwanted]
    write_atomic(path, ("\n".join(kept) + "\n").encode())


class Mosquitto:
    """Debian's mosquitto as a subprocess on loopback.

    Args:
        state: its folder, which `write` has filled.
        listeners: where it listens, at least one.

    Raises:
        UsageError: mosquitto is not installed, or did not start.
    """

    def __init__(self, state: Path, *listeners: Listener) -> None:
        last = listeners[-1]
        config = state / "mosquitto.conf"
        write_atomic(config, configuration(state, *listeners).encode())
        self._process = Process(
            [installed("mosquitto"), "-c", str(config)], last.host, last.port, state / "mosquitto.log"
        )

    @property
    def pid(self) -> int:
        """The id of its process; 0 while there is none."""
        return self._process.pid

    def start(self, timeout: float = 10.0) -> None:
        """Start it and wait until it listens."""
        self._process.launch()
        self._process.ready(timeout)

    def reload(self) -> None:
        """Have it read passwords, access list and certificates again; who may not log in any more is sent away."""
        if self.pid:
            os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self._process.stop()
