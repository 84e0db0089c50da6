"""The TLS of one listener: made from its files, and made anew when one of them was replaced."""

import logging
import ssl
from typing import TYPE_CHECKING, cast

from accord.errors import UsageError
from accord.files import FileError, read_private
from broker.config import Tls

if TYPE_CHECKING:
    from broker.revoked import Revoked

LOG = logging.getLogger("accord.broker")
LARGEST_KEY = 65_536  # bytes of a key's file


class Secured:
    """What a listener's TLS is made with.

    Args:
        tls: its files.

    Raises:
        UsageError: a file is missing or not what it should be; the message names it.
        FileError: others may read the key.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls, self._stamp = tls, _stamp(tls)
        self._revoked = _revoked(tls)
        self.context = context(tls)

    def renew(self) -> bool:
        """Read the files again if one was replaced, and return whether they count; if they are no good, none does."""
        stamp = _stamp(self._tls)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            made, revoked = context(self._tls), _revoked(self._tls)
            if revoked is not None and self._revoked is not None and self._tls.revoked is not None:
                revoked.follows(self._revoked, self._tls.revoked)
        except (UsageError, FileError) as error:
            LOG.warning("the certificate stays as it was, and so do its authorities and lists: %s", error)
            return False
        # A new context each time: whoever resumes a session of the old one would not be looked at again.
        self.context, self._revoked = made, revoked
        return True

    def refuses(self, certificate: bytes) -> bool:
        """Return whether a client's certificate, DER, is revoked."""
        return self._revoked is not None and certificate in self._revoked


def context(tls: Tls) -> ssl.SSLContext:
    """Return what a listener's TLS is made with: 1.2 or newer, and clients' certificates required or not asked for.

    Raises:
        UsageError: a file is missing, is not PEM, or the certificate and the key are not of one pair.
        FileError: others may read the key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    read_private(tls.key, LARGEST_KEY)
    try:
        # A key with a passphrase would stop at a prompt, where nobody sits.
        made.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{tls.certificate} and {tls.key} are not a PEM certificate and its key without a passphrase: "
            f"{_reason(error)}"
        ) from error
    if tls.clients is not None:
        _load(made, tls.clients, "certificate of an authority")
        made.verify_mode = ssl.CERT_REQUIRED
    if tls.revoked is not None:
        _load(made, tls.revoked, "list of revoked certificates")
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return made


def common_name(found: ssl.SSLObject) -> str:
    """Return the one common name of the certificate that a client showed; empty if it has none or several."""
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", (found.getpeercert() or {}).get("subject", ()))
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    return names[0] if len(names) == 1 else ""


def _load(made: ssl.SSLContext, path: object, what: str) -> None:
    try:
        made.load_verify_locations(str(path))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{path} holds no {what}: {_reason(error)}") from error


def _revoked(tls: Tls) -> "Revoked | None":
    if tls.revoked is None or tls.clients is None:
        return None
    from broker.revoked import read  # noqa: PLC0415 - cryptography is large, and needed for this alone

    return read(tls.revoked, tls.clients)


def _stamp(tls: Tls) -> tuple[int, ...]:
    stamp = []
    for file in (tls.certificate, tls.key, tls.clients, tls.revoked):  # replaced one after the other
        try:
            found = file.stat() if file is not None else None
        except OSError:
            found = None
        stamp += [0, 0, 0] if found is None else [found.st_ino, found.st_mtime_ns, found.st_size]
    return tuple(stamp)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
