"""The configuration of one kind of broker as files: which are private, how to start it, what clients need."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accord.entropy import Entropy
from accord.ids import checked_name
from broker import dynamic_security, mosquitto, nats, untested
from broker.config import Listener
from broker.mosquitto import Access

NODE_PORT = 6_222
OWN_PORT, WATCH_PORT = 4_222, 8_222
CTRL = "mosquitto_ctrl"
"""The login of `mosquitto_ctrl`, which reads a file of its own name in XDG_CONFIG_HOME; its option -o does nothing."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a person asks for.

    Args:
        tenant: whose topics are carried.
        listener: where clients connect.
        folder: where the files will lie on the broker's machine.
        passwords: of every client; empty leaves out the private files.
        nodes: host names of a cluster's nodes, for NATS.
        access: for Mosquitto.
        admin_port: on loopback, for `mosquitto_ctrl`.
        user: as whom the broker runs.
    """

    tenant: str
    listener: Listener
    folder: Path
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    nodes: tuple[str, ...] = ()
    access: Access = "dynamic"
    admin_port: int = 1_884
    user: str = ""

    def __post_init__(self) -> None:
        checked_name(self.tenant, "tenant")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Files by their names, and what to do with them."""

    files: Mapping[str, str] = field(repr=False)
    private: frozenset[str] = frozenset()
    start: tuple[str, ...]
    session: str
    tested: bool = True


def of_mosquitto(wanted: Wanted, entropy: Entropy) -> Recipe:
    """Return Mosquitto's: with the dynamic security plugin, or a password file and an access list."""
    listeners = [wanted.listener]
    files: dict[str, str] = {}
    if wanted.access == "files":
        files[mosquitto.ACCESS_LIST] = mosquitto.access_list(wanted.tenant)
        if wanted.passwords:
            files[mosquitto.PASSWORDS] = mosquitto.password_file(wanted.passwords, entropy)
    else:
        # On loopback alone, so plain: mosquitto_ctrl needs no certificate of the fleet's.
        listeners.append(Listener(port=wanted.admin_port, insecure=True))
        if wanted.passwords:
            admin = entropy(24).hex()
            files[dynamic_security.FILE] = dynamic_security.document(wanted.tenant, wanted.passwords, admin, entropy)
            files[CTRL] = f"-h 127.0.0.1\n-p {wanted.admin_port}\n-u {dynamic_security.ADMIN}\n-P {admin}\n"
    text = mosquitto.configuration(wanted.folder, *listeners, access=wanted.access, user=wanted.user)
    return Recipe(
        files={"mosquitto.conf": text, **files},
        private=frozenset({mosquitto.PASSWORDS, dynamic_security.FILE, CTRL}),
        start=(f"mosquitto -c {wanted.folder / 'mosquitto.conf'}",),
        session="plain",
    )


def of_nats(wanted: Wanted, entropy: Entropy) -> Recipe:
    """Return NATS's: one server, or a folder for each node of a cluster."""
    tls = wanted.listener.tls
    certified = tls is not None and tls.clients is not None
    users = nats.users(wanted.tenant, wanted.passwords, entropy, certified=certified) if wanted.passwords else ""
    secret = entropy(24).hex() if wanted.passwords else ""
    names = [f"node-{number}" for number in range(1, len(wanted.nodes) + 1)] or [""]
    files: dict[str, str] = {}
    for name, host in zip(names, wanted.nodes or ("",), strict=True):
        folder = wanted.folder / name
        node = nats.Node(
            name=name or "accord",
            listener=wanted.listener,
            own_port=OWN_PORT,
            watch_port=WATCH_PORT,
            store=str(folder / "kept"),
            log=str(folder / "nats.log"),
            cluster_listen=f"0.0.0.0:{NODE_PORT}" if wanted.nodes else "",
            cluster_tls=tls,
            nodes=max(1, len(wanted.nodes)),
        )
        prefix = f"{name}/" if name else ""
        files[f"{prefix}nats.conf"] = nats.configuration(node, wanted.tenant)
        if wanted.passwords:
            files[f"{prefix}{nats.USERS}"] = users
            if wanted.nodes:
                others = [f"{other}:{NODE_PORT}" for other in wanted.nodes if other != host]
                files[f"{prefix}{nats.ROUTES}"] = nats.routes(others, secret)
    return Recipe(
        files=files,
        private=frozenset(name for name in files if name.endswith((nats.USERS, nats.ROUTES))),
        start=tuple(f"nats-server -c {wanted.folder / name / 'nats.conf'}" for name in names),
        session="unqueued",
    )


def _untested(make: Callable[[str, Listener, Path], Mapping[str, str]], start: str) -> Callable[..., Recipe]:
    def recipe(wanted: Wanted, _entropy: Entropy) -> Recipe:
        files = {
            name: untested.labelled(name, text)
            for name, text in make(wanted.tenant, wanted.listener, wanted.folder).items()
        }
        return Recipe(files=files, start=(start,), session="derived", tested=False)

    return recipe


RECIPES: Mapping[str, Callable[[Wanted, Entropy], Recipe]] = {
    "mosquitto": of_mosquitto,
    "nats": of_nats,
    "emqx": _untested(untested.emqx, "emqx start"),
    "hivemq": _untested(untested.hivemq, "bin/run.sh"),
    "vernemq": _untested(untested.vernemq, "vernemq start"),
}
