"""What an embedded broker is told: where it listens, how connections are secured, and its limits; reads no file."""

import dataclasses
from dataclasses import field
from pathlib import Path

from accord.errors import UsageError
from accord.ids import checked_name
from accord.link.port import LARGEST_PAYLOAD
from accord.values import dataclass

PLAIN = (
    "without TLS whoever is between a device and the broker reads every password and letter, and can log in with them. "
    "Name a certificate and a key, or say insecure where nobody can be between, as in a test on one machine"
)


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The files of a listener's TLS, all PEM; they are read again when one of them was replaced.

    Attributes:
        certificate: the broker's certificate, and those between it and the root.
        key: its key, for nobody else to read.
        clients: the authorities of clients' certificates. With it every client must show one whose common name is its
            client id, beside its password if it has one; without it clients log in with a password or a token.
        revoked: the list of revoked certificates (CRL) of each of these authorities; who shows one of them is cut.

    Raises:
        UsageError: there are lists and no authorities.
    """

    certificate: Path
    key: Path
    clients: Path | None = None
    revoked: Path | None = None

    def __post_init__(self) -> None:
        if self.revoked is not None and self.clients is None:
            raise UsageError("a list of revoked certificates without clients: name their authority, too")


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One address that takes connections; port 0 takes any free one.

    Raises:
        UsageError: the port is none, or the listener is plain and nobody said that it may be.
    """

    host: str = "127.0.0.1"
    port: int
    tls: Tls | None = None
    websocket: bool = False
    insecure: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 0 to 65535")
        if self.tls is None and not self.insecure:
            raise UsageError(f"{self.host}:{self.port} is plain: {PLAIN}")
        if self.tls is not None and self.insecure:
            raise UsageError(f"{self.host}:{self.port} has a certificate and is said to be insecure: which is it?")

    @property
    def scheme(self) -> str:
        """`mqtt`, `mqtts`, `ws` or `wss`."""
        return ("ws" if self.websocket else "mqtt") + ("s" if self.tls is not None else "")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What clients may take up. All are above nothing.

    Attributes:
        packet: bytes of one packet.
        waiting: bytes that wait for one connected client; each device may have a third of what is free there.
        offline: bytes kept for one client that is away.
        all_waiting: bytes that wait for all clients together.
        retained: bytes of one retained letter.
        replay: bytes of retained letters that one client is sent in a second because it subscribes; after ten seconds'
            worth at once it must wait.
        in_flight: letters that one client has not acknowledged; the aggregator does so once its journal has a batch.
        filters: subscriptions of one client.
        clients: clients that are logged in.
        strangers: connections that have not logged in; one more, and the oldest must leave.
        per_second: connections from one address in a second.
        at_once: connections that may come at once from one address after a quiet time.
        login: seconds in which a connection must have logged in.
        keepalive: seconds; who asks for longer is cut off after one and a half times this in silence.
    """

    packet: int = LARGEST_PAYLOAD + 1_024
    waiting: int = 16 << 20
    offline: int = 4 << 20
    all_waiting: int = 256 << 20
    retained: int = 1 << 16
    replay: int = 1 << 20
    in_flight: int = 128
    filters: int = 100
    clients: int = 1_000
    strangers: int = 256
    per_second: float = 100.0
    at_once: int = 1_000
    login: float = 10.0
    keepalive: int = 300

    def __post_init__(self) -> None:
        for name in fields(self):
            if getattr(self, name) <= 0:
                raise UsageError(f"a limit of {getattr(self, name)} for {name}: it is more than 0")


def fields(limits: Limits) -> tuple[str, ...]:
    """Return the names of the limits."""
    return tuple(one.name for one in dataclasses.fields(limits))


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """Where to listen and whose topics to carry; `state` holds who may log in."""

    state: Path
    tenant: str
    listeners: tuple[Listener, ...]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        checked_name(self.tenant, "tenant")
        if not self.listeners:
            raise UsageError("a broker without a listener: give it at least one")
