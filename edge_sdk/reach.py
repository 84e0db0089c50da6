"""How a device reaches its broker: host and ports, TLS under a pinned CA, WebSocket, proxy. It connects to nothing."""

from pathlib import Path

from accord.errors import UsageError
from accord.files import DISK, FileError, read_limited, read_private
from accord.link.address import Address
from accord.link.places import Place
from accord.link.session import checked_session
from accord.link.tls import Tls
from accord.link.tunnel import Proxy
from accord.values import dataclass

LARGEST = 65_536  # bytes of a certificate or a key
WHY = (
    "without TLS everybody on the network between can read the password and log in as this device, and sees when it "
    "takes part"
)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What the table `[broker]` of a device says.

    Args:
        host: its name or address.
        port: where a device logs in by password.
        mutual_port: where the broker asks for a certificate of ours; 0 if nowhere, and if we have none it is not used.
        insecure: plain MQTT.
        ca: the file of the transport CA's certificate, PEM.
        server_name: in the broker's certificate, where that is not `host`.
        tls_certificate: the file of our own certificate, PEM; it need not be there.
        tls_key: the file of its key.
        websocket: the path of a WebSocket, such as `/mqtt`; empty for MQTT itself.
        proxy: an HTTP proxy, as `http://HOST:PORT`.
        proxy_login: the file of its login, `USER:PASSWORD`, mode 0600.
        session: under which MQTT client id the broker keeps our session.
        others: further nodes of the same broker.

    Raises:
        UsageError: a port is none, the session is unknown, or it is said to be insecure and to have a CA.
    """

    host: str
    port: int
    mutual_port: int = 0
    insecure: bool = False
    ca: Path | None = None
    server_name: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    websocket: str = ""
    proxy: str = ""
    proxy_login: Path | None = None
    session: str = "plain"
    others: tuple[Place, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise UsageError(f"[broker] port {self.port} is not from 1 to 65535")
        checked_session(self.session)
        if not 0 <= self.mutual_port < 65_536:
            raise UsageError(f"[broker] mutual_port {self.mutual_port} is not from 0 to 65535")
        if self.insecure and (self.ca or self.mutual_port):
            raise UsageError("[broker] insecure = true is plain MQTT: it goes with no ca and no mutual_port")

    @property
    def certified(self) -> bool:
        """Whether we have a certificate of our own."""
        files = (self.tls_certificate, self.tls_key)
        return not self.insecure and all(path is not None and DISK.exists(path) for path in files)

    def address(self, device: str, password: str, *, certified: bool | None = None) -> Address:
        """Return where to log in, and how.

        Args:
            device: our id.
            password: ours.
            certified: whether to show a certificate; None means if we have one.

        Raises:
            UsageError: there is no pinned CA, and nobody said that the broker has no TLS.
            FileError: a file can't be read, or a secret is readable by others.
        """
        shows = self.certified if certified is None else certified
        return Address(
            host=self.host,
            port=self.mutual_port if shows and self.mutual_port else self.port,
            client_id=device,
            password=password,
            tls=None if self.insecure else self._tls(shows=shows),
            session=checked_session(self.session),
            others=self.others,
            websocket=self.websocket,
            proxy=Proxy.read(self.proxy, self._login()) if self.proxy else None,
        )

    def _tls(self, *, shows: bool) -> Tls:
        if self.ca is None or not DISK.exists(self.ca):
            raise UsageError(
                f"the broker's CA is not pinned: put the fleet's `ca.pem` at {self.ca}, or name it as [broker] ca. For "
                f"plain MQTT say [broker] insecure = true, but {WHY}"
            )
        if shows and self.tls_key is not None:
            read_private(self.tls_key, LARGEST)  # refused here by name, and not at the first connection
        return Tls(
            ca=read_limited(self.ca, LARGEST).decode("ascii", "replace"),
            name=self.server_name,
            certificate=self.tls_certificate if shows else None,
            key=self.tls_key if shows else None,
        )

    def _login(self) -> str:
        if self.proxy_login is None:
            return ""
        try:
            return read_private(self.proxy_login, 1_024).decode().strip()
        except UnicodeDecodeError as error:
            raise FileError(f"{self.proxy_login} is no text") from error
