"""Which certificates their authorities have revoked, by lists (CRLs, RFC 5280) in a file: read and checked.

A serial number is one authority's, and an authority is its name and its key: two may have one name, as when a CA was
made anew, or one key, as when it was renamed.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from accord.errors import UsageError
from accord.files import read_limited

LARGEST = 1 << 24  # bytes of a file
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Revoked:
    """The lists that a listener goes by.

    Args:
        lists: one of each authority, with its certificate.
        others: lists of who is no authority here, such as one that another stands for; they count by their name.
    """

    def __init__(
        self,
        lists: Iterable[tuple[x509.Certificate, x509.CertificateRevocationList]],
        others: Iterable[x509.CertificateRevocationList] = (),
    ) -> None:
        self.lists = {_key(authority): (authority, found) for authority, found in lists}
        """By the authority's name and key, with its certificate."""
        self.others = {found.issuer: found for found in others}
        """By the name that they bear."""

    def __contains__(self, certificate: bytes) -> bool:
        """Return whether a certificate, DER, is on the list of the authority whose key has signed it."""
        found = x509.load_der_x509_certificate(certificate)
        return any(
            known.get_revoked_certificate_by_serial_number(found.serial_number) is not None
            for known in self._lists_for(found)
        )

    def _lists_for(self, certificate: x509.Certificate) -> Iterable[x509.CertificateRevocationList]:
        for authority, known in self.lists.values():
            if certificate.issuer == authority.subject and _signed(certificate, authority):
                return (known,)
        found = self.others.get(certificate.issuer)
        return () if found is None else (found,)

    def follows(self, before: "Revoked", path: Path) -> None:
        """Refuse to go back to an older list: who is revoked stays revoked.

        Raises:
            UsageError: a list was made before the one of the same authority that it would replace.
        """
        pairs = [(found, before.lists.get(key, (None, None))[1]) for key, (_, found) in self.lists.items()]
        pairs += [(found, before.others.get(name)) for name, found in self.others.items()]
        for found, old in pairs:
            if old is not None and found.last_update_utc < old.last_update_utc:
                raise UsageError(f"{path} is older than the list of {found.issuer.rfc4514_string()} that is in force")


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
        lists = [x509.load_pem_x509_crl(block[0]) for block in blocks]
        known = x509.load_pem_x509_certificates(_bytes(authorities))
    except ValueError as error:
        raise UsageError(f"{path} holds no list of revoked certificates (CRL), in PEM: {error}") from error
    found = [(authority, _list_of(authority, lists, path)) for authority in known]
    names = {authority.subject for authority in known}
    return Revoked(found, [one for one in lists if one.issuer not in names])


def _list_of(
    authority: x509.Certificate, lists: Iterable[x509.CertificateRevocationList], path: Path
) -> x509.CertificateRevocationList:
    """Return the newest list that an authority has signed.

    Raises:
        UsageError: there is none.
    """
    name = authority.subject.rfc4514_string()
    named = [one for one in lists if one.issuer == authority.subject]
    if not named:
        raise UsageError(f"{path} holds no list of {name}, without which none of its certificates would be let in")
    signed = [one for one in named if _signed(one, authority)]
    if not signed:
        raise UsageError(f"the list of revoked certificates in {path} is not signed by {name}")
    return max(signed, key=lambda one: one.last_update_utc)


def _signed(what: x509.Certificate | x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Return whether the key of an authority has signed a certificate or a list that bears its name."""
    try:
        if isinstance(what, x509.Certificate):
            what.verify_directly_issued_by(authority)
            return True
        return what.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _key(authority: x509.Certificate) -> tuple[x509.Name, bytes]:
    return authority.subject, authority.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _bytes(path: Path) -> bytes:
    if not path.exists():
        raise UsageError(f"{path} is missing: No such file")
    return read_limited(path, LARGEST)
