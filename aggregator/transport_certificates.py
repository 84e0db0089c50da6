"""The parts of an X.509 certificate as the transport CA makes them, and what a device's request must be.

Everything is ECDSA P-256, which every TLS library speaks.
"""

import datetime as dt
import ipaddress
import re

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from accord.entropy import Entropy
from accord.errors import CodecError, UsageError

ALWAYS = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
"""Certificates hold from here on: a board without a battery for its clock starts in 1970, and must connect to learn
what time it is."""
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")  # RFC 1123, section 2.1
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def new_serial(entropy: Entropy) -> int:
    """Return a number of 159 bits that no device's certificate has: theirs are small."""
    return int.from_bytes(entropy(20), "big") >> 1 | 1 << 158


def usage(*names: str) -> x509.KeyUsage:
    """Return what a key may be used for."""
    return x509.KeyUsage(**{usage: usage in names for usage in _USAGES})


def unsigned(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, serial: int, ends: dt.datetime
) -> x509.CertificateBuilder:
    """Return a certificate that holds from `ALWAYS`, without extensions."""
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(ALWAYS)
        .not_valid_after(ends)
    )


def alternative(name: str) -> x509.GeneralName:
    """Return a host name or an address as it stands in a certificate.

    Raises:
        UsageError: it is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if _HOST.fullmatch(name) is None:
        raise UsageError(f"{name!r} is neither a host name nor an address")
    return x509.DNSName(name)


def requested(device: str, csr: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a request (PKCS#10, DER) whose sender holds its private half.

    Raises:
        CodecError: it is damaged, names another device, or is not signed by its own P-256 key.
    """
    try:
        request = x509.load_der_x509_csr(csr)
        public, valid = request.public_key(), request.is_signature_valid
        names = [str(found.value) for found in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except Exception as error:  # of hostile bytes the library makes errors of many kinds
        raise CodecError(f"the request of {device} for a TLS certificate is damaged: {error}") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise CodecError(f"the TLS key of {device} is not of the curve P-256")
    if names != [device]:
        raise CodecError(f"{device} asks for a TLS certificate of {', '.join(names)[:80] or 'nobody'}")
    if not valid:
        raise CodecError(f"the request of {device} for a TLS certificate is not signed by its own key")
    return public
