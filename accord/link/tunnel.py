"""A connection through an HTTP proxy, by its CONNECT method (RFC 9110, section 9.3.6): for sites that let out no more.

The proxy sees the broker's name and the bytes of TLS, and nothing in them.
"""

import base64
import socket
from dataclasses import field
from http.client import HTTPConnection, HTTPException

from accord.errors import UsageError
from accord.values import dataclass

_SCHEME = "http://"


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """An HTTP proxy, and the login for it where it asks for one, as `user:password`."""

    host: str
    port: int
    login: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.host or not 0 < self.port < 65_536:
            raise UsageError(f"a proxy has a host, and a port from 1 to 65535, not {self.port}")
        if self.login and (":" not in self.login or not self.login.isascii() or not self.login.isprintable()):
            raise UsageError("the login for a proxy is one line, USER:PASSWORD")

    @classmethod
    def read(cls, text: str, login: str = "") -> "Proxy":
        """Return the proxy of a text such as `http://proxy.example:3128`.

        Raises:
            UsageError: it is no such text; a login does not stand in it, as configurations are readable by others.
        """
        host, colon, port = text.removeprefix(_SCHEME).rstrip("/").rpartition(":")
        if not text.startswith(_SCHEME) or not colon or not port.isdigit() or "@" in host or "/" in host:
            raise UsageError(f"[broker] proxy {text.rpartition('@')[2]!r} is not http://HOST:PORT")
        return cls(host=host.strip("[]"), port=int(port), login=login)


def through(proxy: Proxy, host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection to a host through a proxy.

    Args:
        proxy: that lets out.
        host: of the broker.
        port: of the broker.
        timeout: seconds for each step.

    Raises:
        OSError: the proxy does not answer, asks for a login (407), or does not let us out (403).
    """
    connection = HTTPConnection(proxy.host, proxy.port, timeout=timeout)
    token = base64.b64encode(proxy.login.encode()).decode()
    named = f"[{host}]" if ":" in host else host  # before 3.12 http.client puts no brackets around an IPv6 address
    connection.set_tunnel(named, port, {"Proxy-Authorization": f"Basic {token}"} if proxy.login else {})
    try:
        connection.connect()
    except (OSError, HTTPException) as error:
        connection.close()
        raise OSError(f"the proxy {proxy.host}:{proxy.port} does not let us out: {error}") from error
    found: socket.socket = connection.sock
    return found
