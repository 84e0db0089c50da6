"""Mosquitto under our rules: configuration, access list and passwords from the topic rules, and a process for tests.

Every client's name is its client id (`use_username_as_clientid`), so nobody takes over a neighbour's session.
"""

import base64
import getpass
import hashlib
from collections.abc import Mapping
from pathlib import Path

from accord.entropy import Entropy
from accord.files import make_folder, write_atomic
from accord.ids import AGGREGATOR, checked_name
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker.process import Process, installed

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes: the link's largest payload and its topic
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


def configuration(state: Path, host: str, port: int) -> str:
    """Return mosquitto.conf for one listener; passwords and access list lie in `state`."""
    # As root it would change to the user `mosquitto`, who can't read our private files.
    return f"""# Made by Accord from its topic rules.
user {getpass.getuser()}
per_listener_settings false
listener {port} {host}
allow_anonymous false
password_file {state / "mosquitto.passwords"}
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
"""


def write(state: Path, tenant: str, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the access list and the password file of `state`, 0600 both."""
    make_folder(state)
    lines = [f"{checked_name(name, 'client id')}:{hashed(text, entropy(12))}" for name, text in passwords.items()]
    write_atomic(state / "mosquitto.passwords", ("\n".join(lines) + "\n").encode())
    write_atomic(state / "mosquitto.acl", access_list(checked_name(tenant, "tenant")).encode())


class Mosquitto:
    """Debian's mosquitto as a subprocess on loopback.

    Args:
        state: its folder, which `write` has filled.
        port: to listen on.

    Raises:
        UsageError: mosquitto is not installed, or did not start.
    """

    def __init__(self, state: Path, port: int) -> None:
        self.host, self.port = "127.0.0.1", port
        config = state / "mosquitto.conf"
        write_atomic(config, configuration(state, self.host, port).encode())
        self._process = Process([installed("mosquitto"), "-c", str(config)], self.host, port, state / "mosquitto.log")

    @property
    def pid(self) -> int:
        """The id of its process; 0 while there is none."""
        return self._process.pid

    def start(self, timeout: float = 10.0) -> None:
        """Start it and wait until it listens."""
        self._process.launch()
        self._process.ready(timeout)

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self._process.stop()
