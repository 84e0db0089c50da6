"""An authority that signs certificates for tests, and the client's side of TLS."""

import datetime as dt
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accord.files import write_atomic


class Authority:
    """A key, its own certificate, and the pairs that it signs, in one folder; serials count up from `first`.

    With `renamed` it has the key of another one.
    """

    def __init__(
        self, folder: Path, name: str, first: int | None = None, *, renamed: "Authority | None" = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._next = x509.random_serial_number() if first is None else first
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key: ec.EllipticCurvePrivateKey = (
            ec.generate_private_key(ec.SECP256R1()) if renamed is None else renamed._key
        )
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._sign(self._name, self._key, authority=True))

    def pair(self, *names: str) -> tuple[Path, Path]:
        """Return the files of a certificate with these common names, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
        stem = self._folder / ("+".join(names) or "nobody")
        certificate, secret = stem.with_suffix(".crt"), stem.with_suffix(".key")
        write_atomic(certificate, self._sign(subject, key))
        write_atomic(secret, _pem(key))
        return certificate, secret

    def client(self, *names: str) -> ssl.SSLContext:
        """Return the client's side of TLS, with a certificate if there are names."""
        made = ssl.create_default_context(cafile=self.path)
        if names:
            made.load_cert_chain(*self.pair(*names))
        return made

    def serial(self, *names: str) -> int:
        """The serial number of the certificate with these names."""
        return x509.load_pem_x509_certificate((self._folder / f"{'+'.join(names)}.crt").read_bytes()).serial_number

    def revoke(self, *serials: int, later: int = 0) -> Path:
        """Write the list of revoked certificates, made `later` seconds after a minute ago; return its file."""
        at = dt.datetime.now(dt.timezone.utc) - dt.timedelta(seconds=60 - later)
        builder = x509.CertificateRevocationListBuilder(self._name, at, at + dt.timedelta(days=1))
        for serial in serials:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
            builder = builder.add_revoked_certificate(one)
        builder = builder.add_extension(self._identifier(), critical=False)
        path = self._folder / "revoked.pem"
        write_atomic(path, builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return path

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool = False) -> bytes:
        now = dt.datetime.now(dt.timezone.utc)
        serial, self._next = self._next, self._next + 1
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(serial)
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(self._identifier(), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
