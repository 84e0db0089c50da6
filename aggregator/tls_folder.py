"""The TLS files of the machine where the broker and the aggregator run: the CA's certificate, and a key pair for each.

The transport CA's own key is not among them: it lies with enrolment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.files import make_folder, read_limited, read_private, write_atomic
from accord.ids import AGGREGATOR
from accord.link.tls import Tls
from aggregator.transport_ca import CRL, LARGEST, PUBLIC, TransportCA, days_left

LOCAL = ("localhost", "127.0.0.1", "::1")
"""The names of a broker that only this machine reaches."""


@dataclass(frozen=True, kw_only=True)
class TlsFolder:
    """The places of the files: `ca.pem`, `server.{pem,key}` for the broker, `client.{pem,key}` for the aggregator."""

    path: Path

    @property
    def whole(self) -> bool:
        """Whether all files are there."""
        return all(path.exists() for path in (self.ca, self.server, self.server_key, self.client, self.client_key))

    @property
    def ca(self) -> Path:
        """The CA's certificate, PEM: what devices pin."""
        return self.path / "ca.pem"

    @property
    def server(self) -> Path:
        """The broker's certificate, PEM."""
        return self.path / "server.pem"

    @property
    def server_key(self) -> Path:
        """The broker's key, PEM, mode 0600."""
        return self.path / "server.key"

    @property
    def client(self) -> Path:
        """The aggregator's certificate, PEM."""
        return self.path / "client.pem"

    @property
    def client_key(self) -> Path:
        """The aggregator's key, PEM, mode 0600."""
        return self.path / "client.key"

    @property
    def revoked(self) -> Path:
        """The list of revoked certificates, PEM, as it was when the files were made."""
        return self.path / CRL

    def write(self, ca: TransportCA, names: Sequence[str], expires: int) -> None:
        """Make both key pairs, in place of those that were there.

        Args:
            ca: signs them.
            names: host names and addresses under which the broker is reached.
            expires: wall time in seconds.

        Raises:
            UsageError: a name is neither a host name nor an address.
            FileError: a file can't be written.
        """
        server, client = ca.server(names, expires), ca.client(AGGREGATOR, expires)
        make_folder(self.path)
        for path, data, mode in (
            (self.server_key, server.key, 0o600),
            (self.server, server.certificate, PUBLIC),
            (self.client_key, client.key, 0o600),
            (self.client, client.certificate, PUBLIC),
            (self.ca, ca.pem, PUBLIC),
            (self.revoked, ca.revoked, PUBLIC),
        ):
            write_atomic(path, data, mode)

    def trusted(self, name: str = "") -> Tls:
        """Return whom the aggregator trusts at its broker, and who it is there.

        Args:
            name: in the broker's certificate, if that is not the host by which it is reached.

        Raises:
            FileError: a file can't be read, or the key is readable by others.
        """
        read_private(self.client_key, LARGEST)
        pem = read_limited(self.ca, LARGEST).decode("ascii", "replace")
        return Tls(ca=pem, name=name, certificate=self.client, key=self.client_key)

    def days_left(self, now: int) -> int:
        """Return the days until the first of both certificates ends.

        Raises:
            UsageError: a file holds no certificate.
            FileError: it can't be read.
        """
        return min(days_left(read_limited(path, LARGEST), now) for path in (self.server, self.client))
