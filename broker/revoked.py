"""Which certificates their authorities have revoked, by lists (CRLs, RFC 5280) in a file: read and checked."""

import re
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from accord.errors import UsageError
from accord.files import read_limited

LARGEST = 1 << 24  # bytes of a file
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Revoked:
    """The lists that a listener goes by: one of each authority."""

    def __init__(self, lists: Iterable[x509.CertificateRevocationList]) -> None:
        self.lists = {found.issuer: found for found in lists}
        """By the name of the authority."""

    def __contains__(self, certificate: bytes) -> bool:
        """Return whether a certificate, DER, is on a list."""
        found = x509.load_der_x509_certificate(certificate)
        known = self.lists.get(found.issuer)
        return known is not None and known.get_revoked_certificate_by_serial_number(found.serial_number) is not None

    def follows(self, before: "Revoked", path: Path) -> None:
        """Refuse to go back to an older list: who is revoked stays revoked.

        Raises:
            UsageError: a list was made before the one that it would replace.
        """
        for issuer, found in self.lists.items():
            old = before.lists.get(issuer)
            if old is not None and found.last_update_utc < old.last_update_utc:
                raise UsageError(f"{path} is older than the list of {issuer.rfc4514_string()} that is in force")


def read(path: Path, authorities: Path) -> Revoked:
    """Read the lists of authorities. That a list has not ended, is for TLS to see whenever somebody comes.

    Args:
        path: PEM, with one list of each authority and nothing else.
        authorities: their certificates, PEM.

    Raises:
        UsageError: a file is missing or is not such a file; or a list is not signed by its authority, or there is none.
        FileError: a file can't be read.
    """
    blocks = list(_BLOCK.finditer(_bytes(path)))
    if {block[1] for block in blocks} != {b"X509 CRL"}:  # a certificate among them would be trusted by TLS
        raise UsageError(f"{path} holds no list of revoked certificates, or something else: PEM, X509 CRL alone")
    try:
        lists = {one.issuer: one for one in (x509.load_pem_x509_crl(block[0]) for block in blocks)}
        known = x509.load_pem_x509_certificates(_bytes(authorities))
    except ValueError as error:
        raise UsageError(f"{path} holds no list of revoked certificates (CRL), in PEM: {error}") from error
    for authority in known:
        found, name = lists.get(authority.subject), authority.subject.rfc4514_string()
        if found is None:
            raise UsageError(f"{path} holds no list of {name}, without which none of its certificates would be let in")
        try:
            signed = found.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
        except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
            signed = False
        if not signed:
            raise UsageError(f"the list of revoked certificates in {path} is not signed by {name}")
    return Revoked(lists.values())


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise UsageError(f"{path} is missing: No such file")
    return read_limited(path, LARGEST)
