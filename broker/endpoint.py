"""Where a broker listens for MQTT, and the files of its TLS. It opens nothing."""

from dataclasses import dataclass
from pathlib import Path

from accord.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The broker's certificate with its key, and the authority whose clients' certificates it takes.

    Args:
        certificate: PEM.
        key: PEM, mode 0600.
        clients: the certificates of the authority, PEM; None where clients log in by password alone.
        revoked: the authority's list of revoked certificates, PEM; None where there is none.
    """

    certificate: Path
    key: Path
    clients: Path | None = None
    revoked: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Host, port, and TLS; without it passwords and letters can be read by whoever is between."""

    host: str
    port: int
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 1 to 65535")

    @property
    def shown(self) -> str:
        """Host and port as brokers' configurations take them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
