"""Where a broker is and how it is reached: host, port, login, TLS. It connects to nothing."""

import ssl
from dataclasses import field

from accord.errors import UsageError
from accord.link.places import Place
from accord.link.session import Session, session_id
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a broker listens and who we are there; the password never shows.

    Args:
        host: its name or address.
        port: where it listens.
        client_id: ours, which is the user name too.
        password: ours.
        tls: how TLS is spoken; None talks plain MQTT.
        session: under which MQTT client id the broker keeps our session.
        others: further nodes of the same broker.
    """

    host: str
    port: int
    client_id: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    session: Session = "plain"
    others: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 1 to 65535")

    @property
    def session_id(self) -> str:
        """The MQTT client id."""
        return session_id(self.client_id, self.password, self.session)

    @property
    def nodes(self) -> tuple[Place, ...]:
        """Every place to try."""
        return ((self.host, self.port), *self.others)
