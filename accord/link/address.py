"""Where a broker is and how it is reached: host, port, login, TLS, WebSocket, proxy. It connects to nothing."""

import ssl
from dataclasses import field

from accord.errors import UsageError
from accord.link.places import Place
from accord.link.session import Session, session_id, speakable
from accord.link.tls import Tls
from accord.link.tunnel import Proxy
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a broker listens and who we are there; the password never shows.

    Args:
        host: its name or address.
        port: where it listens.
        client_id: ours, which is the user name too.
        password: ours.
        tls: whom we trust there, or a context of the caller's own; None talks plain MQTT.
        session: under which MQTT client id the broker keeps our session.
        others: further nodes of the same broker.
        websocket: the path of its WebSocket, such as `/mqtt`; empty for MQTT itself.
        proxy: that lets us out; None goes straight.
    """

    host: str
    port: int
    client_id: str
    password: str = field(repr=False)
    tls: Tls | ssl.SSLContext | None = field(default=None, repr=False)
    session: Session = "plain"
    others: tuple[Place, ...] = ()
    websocket: str = ""
    proxy: Proxy | None = None

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 1 to 65535")
        if self.websocket and not (self.websocket.startswith("/") and self.websocket.isprintable()):
            raise UsageError(f"the WebSocket's path {self.websocket!r} does not begin with /")
        speakable(self.client_id, "device id", self.session)

    @property
    def session_id(self) -> str:
        """The MQTT client id."""
        return session_id(self.client_id, self.password, self.session)

    @property
    def most_qos(self) -> int:
        """The largest QoS at which letters are heard."""
        return 0 if self.session == "unqueued" else 1

    @property
    def nodes(self) -> tuple[Place, ...]:
        """Every place to try."""
        return ((self.host, self.port), *self.others)

    @property
    def shown(self) -> str:
        """The first place, for people."""
        return self.shown_at((self.host, self.port))

    def shown_at(self, place: Place) -> str:
        """Return one of the places, and what stands between, for people."""
        between = "" if self.proxy is None else f" through the proxy {self.proxy.host}:{self.proxy.port}"
        return f"{place[0]}:{place[1]}{self.websocket}{between}"
