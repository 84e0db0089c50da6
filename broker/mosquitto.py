"""Mosquitto under our rules: configuration, access list and passwords from the topic rules, and a process for tests.

Every client's name is its client id (`use_username_as_clientid`), so nobody takes over a neighbour's session. Where a
listener asks for certificates and has a list of revoked ones, the name is the certificate's, and no password is looked
at. Without a list nobody could be shut out so, and a client says its name and password beside its certificate: taken
out of the password file, it is sent away at the next reload.
"""

import getpass
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from accord.entropy import Entropy
from accord.files import make_folder, read_private, write_atomic
from accord.ids import AGGREGATOR, checked_name
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker import dynamic_security
from broker.config import Listener
from broker.pbkdf2 import line
from broker.process import Process, installed

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes: the link's largest payload and its topic
IN_FLIGHT = 128  # letters that one client has not acknowledged: the aggregator does so once its journal has a batch
MOST_LETTERS = 10_000  # that wait for one client, where they are small
MOST_WAITING = 64 << 20  # bytes that wait for one client
PASSWORDS, ACCESS_LIST = "mosquitto.passwords", "mosquitto.acl"
PLUGIN = "mosquitto_dynamic_security.so"
LARGEST = 1 << 24  # bytes of the password file
Access = Literal["files", "dynamic"]


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


def configuration(state: Path, *listeners: Listener, access: Access = "files", user: str = "") -> str:
    """Return mosquitto.conf.

    Args:
        state: the folder of everything else: who may log in and do what, what is kept, the log.
        listeners: where it listens.
        access: `files`, a password file and an access list; `dynamic`, the dynamic security plugin, by which clients
            come and go while it runs (`broker.dynamic_security`).
        user: as whom it runs; empty for whoever asks. Started as root it would else change to one that can't read
            private files.
    """
    who = (
        f"password_file {state / PASSWORDS}\nacl_file {state / ACCESS_LIST}"
        if access == "files"
        else f"plugin {plugin()}\nplugin_opt_config_file {state / dynamic_security.FILE}"
    )
    return f"""# Made by Accord from its topic rules.
user {user or getpass.getuser()}
per_listener_settings false
allow_anonymous false
{who}
max_packet_size {LARGEST_PACKET}
max_inflight_messages {IN_FLIGHT}
max_queued_messages {MOST_LETTERS}
max_queued_bytes {MOST_WAITING}
max_keepalive 600
set_tcp_nodelay true
persistence true
persistence_location {state}/
autosave_interval 60
persistent_client_expiration 30d
log_dest file {state / "mosquitto.log"}
log_type error
log_type warning
log_type notice
connection_messages true
""" + "".join(_listener(one) for one in listeners)


def _listener(one: Listener) -> str:
    # A client's name is its client id, so nobody takes over a neighbour's session. It counts for the listener above it
    # alone; with none above it, Mosquitto opens one more, without TLS, on port 1883.
    lines = [f"listener {one.port} {one.host}", "use_username_as_clientid true"]
    if one.websocket:
        lines.append("protocol websockets")
    if one.tls is not None:
        lines += [f"certfile {one.tls.certificate}", f"keyfile {one.tls.key}", "tls_version tlsv1.2"]
        if one.tls.clients is not None:
            lines += [f"cafile {one.tls.clients}", "require_certificate true"]
        if one.tls.revoked is not None:
            lines += [f"crlfile {one.tls.revoked}", "use_identity_as_username true"]
    return "\n".join([*lines, ""])


def plugin() -> Path:
    """Return where Debian's package puts the dynamic security plugin."""
    found = sorted(Path("/usr/lib").glob(f"*/{PLUGIN}"))
    return found[0] if found else Path("/usr/lib/x86_64-linux-gnu") / PLUGIN


def password_file(passwords: Mapping[str, str], entropy: Entropy) -> str:
    """Return the password file."""
    lines = [f"{checked_name(name, 'client id')}:{line(text, entropy(12))}" for name, text in passwords.items()]
    return "\n".join([*lines, ""])


def write(state: Path, tenant: str, passwords: Mapping[str, str], entropy: Entropy) -> None:
    """Write the access list and the password file of `state`, 0600 both."""
    make_folder(state)
    write_atomic(state / PASSWORDS, password_file(passwords, entropy).encode())
    write_atomic(state / ACCESS_LIST, access_list(checked_name(tenant, "tenant")).encode())


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
        listeners: where it listens.
        access: as for `configuration`.

    Raises:
        UsageError: mosquitto is not installed, or did not start.
    """

    def __init__(self, state: Path, *listeners: Listener, access: Access = "files") -> None:
        config = state / "mosquitto.conf"
        write_atomic(config, configuration(state, *listeners, access=access).encode())
        words, last = [installed("mosquitto"), "-c", str(config)], listeners[-1]
        self._process = Process(words, last.host, last.port, state / "mosquitto.log")

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
        self._process.reload()

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self._process.stop()
