"""TLS to a broker: trust in one pinned CA and in nothing that the system trusts, and what an error of it means.

Needs nothing but Python's `ssl`, which paho loads in any case. TLS 1.2 is the oldest version that is spoken.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any

from accord.errors import UsageError
from accord.link.port import LinkError, RefusedError, UnreachableError, UntrustedError
from accord.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Whom we trust at the other end, and who we are.

    Args:
        ca: the CA's certificate, PEM; several may stand there while one takes the place of another.
        name: the name in the broker's certificate, where that is not the host by which it is reached.
        certificate: the file of our own certificate, PEM; None where we log in by password alone.
        key: the file of its key, PEM, mode 0600.

    Raises:
        UsageError: the CA's certificate is none, or there is a certificate without a key.
    """

    ca: str = field(repr=False)
    name: str = ""
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        try:
            _ = self.fingerprint
            ssl.create_default_context(cadata=self.ca)
        except (ValueError, ssl.SSLError) as error:
            raise UsageError("the pinned CA is no certificate in PEM: take `ca.pem` of the fleet") from error
        if (self.certificate is None) != (self.key is None):
            raise UsageError("a certificate for TLS and its key go together: give both, or neither")

    @property
    def fingerprint(self) -> str:
        """The first half of the SHA-256 of the CA's certificate, for people to compare; of several, of the first."""
        first = self.ca[self.ca.index("-----BEGIN CERTIFICATE-----") :].partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(first[:2]))).hexdigest()[:32]


class _Watched(ssl.SSLSocket):
    """Notes what the other end says against us: with TLS 1.3 it does so after the handshake, when we read."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; a socket that failed at it is closed, which paho leaves to the collector of garbage."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise

    def recv(self, *arguments: Any) -> bytes:
        try:
            return super().recv(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            context = self.context
            if isinstance(context, PinnedContext):
                context.objection = error
            raise


def context_of(tls: Tls | ssl.SSLContext) -> ssl.SSLContext:
    """Return the context for one link."""
    return PinnedContext(tls) if isinstance(tls, Tls) else tls


class PinnedContext(ssl.SSLContext):
    """The context for one link. A certificate that was renewed is read again at the next connection."""

    objection: ssl.SSLError | None
    """Why the other end has ended the connection before; None if it did not say."""

    def __new__(cls, _tls: Tls) -> "PinnedContext":  # noqa: PYI034, D102 - typing.Self needs 3.11; `__init__` says it
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, tls: Tls) -> None:
        self._tls, self.objection = tls, None
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self.sslsocket_class = _Watched
        self.load_verify_locations(cadata=tls.ca)
        self._stamps: tuple[tuple[int, ...], ...] = ()
        self._own()

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str | None = None, **more: Any
    ) -> ssl.SSLSocket:
        """Return a socket that talks TLS to the broker of the pinned name."""
        self._own()
        self.objection = None
        return super().wrap_socket(sock, server_hostname=self._tls.name or server_hostname, **more)

    def _own(self) -> None:
        """Read our certificate and its key, if they have changed."""
        if self._tls.certificate is None or self._tls.key is None:
            return
        try:
            found = [path.stat() for path in (self._tls.certificate, self._tls.key)]
            stamps = tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
            if stamps != self._stamps:
                self.load_cert_chain(self._tls.certificate, self._tls.key)
                self._stamps = stamps
        except OSError as error:  # ssl.SSLError is one: it is no certificate, or another key's
            raise LinkError(
                f"{self._tls.certificate} and {self._tls.key} are no certificate and its key ({error}): "
                "enrol the device anew, or make them again by `accord fleet tls`",
                "BadCertificate",
            ) from error


def explained(
    error: OSError, where: str, host: str, tls: Tls | ssl.SSLContext | None, now: Callable[[], float] = time.time
) -> LinkError:
    """Return an error that says what a person can do about one of TLS or of the network.

    Args:
        error: as it came.
        where: host and port as they are shown.
        host: by which the broker is reached.
        tls: what was asked for.
        now: wall time in seconds.
    """
    if tls is None or not isinstance(error, ssl.SSLError):
        return UnreachableError(f"no broker at {where} ({error}): is it running, and is the port right?")
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedError(f"the broker at {where} is not believed: {_mistrust(error, host, tls, now())}")
    reason = error.reason or ""
    if "ALERT" in reason or "CERTIFICATE" in reason:
        said = reason.removeprefix("SSLV3_ALERT_").removeprefix("TLSV1_ALERT_").removeprefix("TLSV13_ALERT_")
        return RefusedError(
            f"the broker at {where} refuses our TLS ({said.lower().replace('_', ' ')}): it wants a certificate of its "
            "fleet's transport CA that has not ended and is not revoked; was the device enrolled there?",
            "CertificateRefused",
        )
    return UnreachableError(
        f"{where} speaks no TLS ({reason or error}): is it the port without TLS, or another service?"
    )


def _mistrust(error: ssl.SSLCertVerificationError, host: str, tls: Tls | ssl.SSLContext, now: float) -> str:
    name, pinned = (
        (tls.name or host, f", whose fingerprint is {tls.fingerprint}") if isinstance(tls, Tls) else (host, "")
    )
    date = time.strftime("%Y-%m-%d", time.gmtime(now))
    match error.verify_code:
        case 9:
            return (
                f"its certificate does not hold yet, as this machine's clock says {date}; let the clock be set from "
                "the network (NTP): a board without a battery for it starts in 1970"
            )
        case 10:
            return (
                f"its certificate has ended, as this machine's clock says {date}; if that is right, "
                "`accord fleet tls` makes another one"
            )
        case 62 | 64:
            return (
                f"its certificate is not for the name {name}; use a name that is in it as [broker] host or "
                f"server_name, or make another one by `accord fleet tls --name {name}`"
            )
        case _:
            return (
                f"its certificate is not of the CA that was pinned{pinned} "
                f"({error.verify_message}); it is another fleet's broker, or somebody stands in between"
            )
