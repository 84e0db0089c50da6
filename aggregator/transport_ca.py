"""The transport CA: X.509 certificates for TLS connections to the broker, and for nothing else.

Its key is ECDSA P-256, which every TLS library speaks; what a fleet believes is signed with Ed25519 by other keys, and
nobody checks a letter with this one. It lies in a folder of its own:

key          PKCS#8, mode 0600
ca.pem       the certificate that devices, the aggregator and the broker are given
crl.pem      certificates that were revoked, for brokers that read such lists
devices/ID   the request of one device and the certificate that it was given last
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from accord.entropy import Entropy
from accord.errors import CodecError, UsageError
from accord.files import DISK, Disk, FileError
from accord.ids import checked_name
from accord.link.tls_key import named, new_key, private
from accord.records import Int, Octets, Record
from accord.records import field as wire
from accord.values import dataclass
from aggregator.transport_certificates import alternative, new_serial, requested, unsigned, usage

FOLDER = "transport"
KEY, CA, CRL, DEVICES = "key", "ca.pem", "crl.pem", "devices"
PUBLIC = 0o644
LARGEST = 65_536  # bytes of a file
LARGEST_LIST = 1 << 20  # bytes of a list of revoked certificates: about 20,000
CLOCKS = dt.timedelta(hours=1)
"""By how much the clocks of the CA's machine and a broker's may differ."""
LIFE = 3_650 * 86_400
"""Seconds that the CA holds beyond what it first signs: devices pin it."""


@dataclass(frozen=True, kw_only=True)
class KeyPair:
    """A key that was made here, and its certificate, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Given(Record):
    """What one device asked for and was given last, both DER."""

    LIMIT: ClassVar[int] = 4_096

    csr: bytes = wire(Octets(1, 512))
    serial: int = wire(Int(0, 2**32))
    certificate: bytes = wire(Octets(1, 2_048))


class TransportCA:
    """One fleet's, in its folder.

    Args:
        folder: that `create` made.
        entropy: keys and serial numbers are drawn from it; signatures draw from the operating system.
        disk: where it lies.

    Raises:
        FileError: a file is missing, damaged or readable by others.
    """

    def __init__(self, folder: Path, entropy: Entropy, disk: Disk = DISK) -> None:
        self._folder, self._entropy, self._disk = folder, entropy, disk
        self.pem = disk.read_limited(folder / CA, LARGEST)
        try:
            key = load_pem_private_key(disk.read_private(folder / KEY, LARGEST), None)
            self._ca = x509.load_pem_x509_certificate(self.pem)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise FileError(f"{folder} holds no key or no certificate of a transport CA: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._ca.public_key():
            raise FileError(f"{folder / KEY} is not the key of {folder / CA}: bring back the right one")
        self._key = key

    @classmethod
    def create(
        cls, folder: Path, tenant: str, expires: int, entropy: Entropy, disk: Disk = DISK, *, now: int
    ) -> "TransportCA":
        """Make a CA.

        Args:
            folder: an empty or missing one.
            tenant: stands in its name.
            expires: when the fleet's first documents end, wall time in seconds; the CA ends ten years later.
            entropy: the key is drawn from it.
            disk: where it shall lie.
            now: wall time in seconds.

        Raises:
            UsageError: there is one already.
            FileError: it can't be written.
        """
        if disk.exists(folder / KEY):
            raise UsageError(f"{folder} holds a transport CA already: devices pin it, so keep it")
        key, name = new_key(entropy), named(f"{checked_name(tenant, 'tenant')} transport CA")
        builder = (
            unsigned(
                name,
                name,
                key.public_key(),
                new_serial(entropy),
                dt.datetime.fromtimestamp(expires + LIFE, tz=dt.timezone.utc),
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        disk.make_folder(folder)
        disk.write_atomic(folder / KEY, private(key))
        disk.write_atomic(folder / CA, builder.sign(key, SHA256()).public_bytes(Encoding.PEM), PUBLIC)
        made = cls(folder, entropy, disk)
        made.revoke((), now)
        return made

    @property
    def der(self) -> bytes:
        """The CA's own certificate, DER."""
        return self._ca.public_bytes(Encoding.DER)

    def server(self, names: Sequence[str], expires: int) -> KeyPair:
        """Make a broker's key and certificate.

        Args:
            names: host names and addresses under which it is reached, at least one.
            expires: wall time in seconds.

        Raises:
            UsageError: a name is neither a host name nor an address.
        """
        if not names:
            raise UsageError("a broker's certificate needs a name: the host by which devices reach it")
        key = new_key(self._entropy)
        builder = self._unsigned(names[0], key.public_key(), new_serial(self._entropy), expires).add_extension(
            x509.SubjectAlternativeName([alternative(name) for name in names]), critical=False
        )
        return KeyPair(certificate=self._signed(builder, ExtendedKeyUsageOID.SERVER_AUTH), key=private(key))

    def client(self, name: str, expires: int, serial: int | None = None) -> KeyPair:
        """Make a key and a certificate for a client that can't ask: the aggregator, or a device for development.

        Args:
            name: its client id, which becomes the common name.
            expires: wall time in seconds.
            serial: of a device's certificate of enrolment; None draws one.
        """
        key = new_key(self._entropy)
        number = new_serial(self._entropy) if serial is None else serial
        builder = self._unsigned(checked_name(name, "client id"), key.public_key(), number, expires)
        return KeyPair(certificate=self._signed(builder, ExtendedKeyUsageOID.CLIENT_AUTH), key=private(key))

    def certify(self, device: str, csr: bytes, serial: int, expires: int) -> bytes:
        """Return a device's certificate, DER; its common name is the device's id, whatever the request says.

        The same request and serial number again give the same certificate.

        Args:
            device: its id, which the request must name.
            csr: the request (PKCS#10, DER), signed by a P-256 key.
            serial: of the certificate, that of the device's certificate of enrolment.
            expires: wall time in seconds.

        Raises:
            CodecError: it is no such request.
        """
        kept = self._given(device)
        if kept is not None and (kept.csr, kept.serial) == (csr, serial):
            return kept.certificate
        public = requested(device, csr)
        builder = self._unsigned(device, public, serial, expires)
        pem = self._signed(builder, ExtendedKeyUsageOID.CLIENT_AUTH)
        found = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        folder = self._disk.make_folder(self._folder / DEVICES)
        self._disk.write_atomic(folder / device, Given(csr=csr, serial=serial, certificate=found).encode())
        return found

    def certify_again(self, device: str, serial: int, expires: int) -> bytes:
        """Return a renewed certificate for the key that a device asked with last; empty if it never did."""
        kept = self._given(device)
        return b"" if kept is None else self.certify(device, kept.csr, serial, expires)

    @property
    def revoked(self) -> bytes:
        """The list of revoked certificates (a CRL), PEM.

        Raises:
            FileError: it can't be read.
        """
        return self._disk.read_limited(self._folder / CRL, LARGEST_LIST)

    def revoke(self, serials: Iterable[int], now: int, until: int | None = None) -> None:
        """Write the list of revoked certificates; it takes the place of the one before.

        Args:
            serials: of all of them; one that was listed before keeps its date.
            now: wall time in seconds. The list holds from an hour before: a broker whose clock is behind ours would
                turn everybody away.
            until: wall time in seconds at which the list ends, and brokers turn everybody away; None is when the CA
                does.

        Raises:
            FileError: the list before is no list, or it can't be written.
        """
        at = dt.datetime.fromtimestamp(now, tz=dt.timezone.utc)
        ends = self._ca.not_valid_after_utc
        if until is not None:
            ends = min(ends, dt.datetime.fromtimestamp(until, tz=dt.timezone.utc))
        number, dates = 0, {}
        if self._disk.exists(self._folder / CRL):
            before = read_list(self.revoked)
            number, dates = number_of(before), {one.serial_number: one.revocation_date_utc for one in before}
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self._ca.subject, last_update=min(at, ends) - CLOCKS, next_update=ends
        ).add_extension(x509.CRLNumber(number + 1), critical=False)
        for serial in sorted(set(serials)):
            date = dates.get(serial, at)
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date).build()
            builder = builder.add_revoked_certificate(one)
        pem = builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)
        self._disk.write_atomic(self._folder / CRL, pem, PUBLIC)

    def _given(self, device: str) -> Given | None:
        path = self._folder / DEVICES / checked_name(device, "device id")
        if not self._disk.exists(path):
            return None
        try:
            return Given.decode(self._disk.read_private(path, Given.LIMIT))
        except CodecError as error:
            raise FileError(f"{path} is damaged ({error}): remove it, and enrol the device anew") from error

    def _unsigned(
        self, common: str, public: ec.EllipticCurvePublicKey, serial: int, expires: int
    ) -> x509.CertificateBuilder:
        ends = min(dt.datetime.fromtimestamp(expires, tz=dt.timezone.utc), self._ca.not_valid_after_utc)
        return unsigned(self._ca.subject, named(common), public, serial, ends)

    def _signed(self, builder: x509.CertificateBuilder, purpose: x509.ObjectIdentifier) -> bytes:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, SHA256())
            .public_bytes(Encoding.PEM)
        )


def read_list(pem: bytes) -> x509.CertificateRevocationList:
    """Return a list of revoked certificates.

    Raises:
        FileError: it is none.
    """
    try:
        return x509.load_pem_x509_crl(pem)
    except ValueError as error:
        raise FileError(
            f"this is no list of revoked certificates: {error}; `accord fleet revoke` writes one"
        ) from error


def number_of(found: x509.CertificateRevocationList) -> int:
    """Return a list's number, which grows with each; 0 if it has none, as lists of earlier releases."""
    try:
        return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def days_left(pem: bytes, now: int) -> int:
    """Return the whole days until a certificate ends; negative once it has.

    Raises:
        UsageError: it is no certificate.
    """
    try:
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError as error:
        raise UsageError(f"this is no certificate: {error}") from error
    return (int(ends.timestamp()) - now) // 86_400
