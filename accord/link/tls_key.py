"""Keys for TLS, ECDSA P-256, and the request with which a device asks for a certificate. Needs `cryptography`.

Only who makes a key imports this: a connection needs nothing but Python's own `ssl`.
"""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from accord.entropy import Entropy
from accord.errors import UsageError

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256 (FIPS 186-5)


def new_key(entropy: Entropy) -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key that is drawn from `entropy`."""
    # 64 bits more than the order has: no number is likelier than another by more than 2^-64 (FIPS 186-5, A.2.1).
    return ec.derive_private_key(1 + int.from_bytes(entropy(40), "big") % (_ORDER - 1), ec.SECP256R1())


def private(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key as PKCS#8, PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def named(common: str) -> x509.Name:
    """Return a name of nothing but a common name, of at most 64 characters."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def request(pem: bytes, device: str) -> bytes:
    """Return a request for a certificate (PKCS#10, DER): the device's id, its public key, and a proof that it holds it.

    Raises:
        UsageError: it is no such key.
    """
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the TLS key of {device} is damaged: erase the device and enrol it anew") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"the TLS key of {device} is of another kind: erase the device and enrol it anew")
    found = x509.CertificateSigningRequestBuilder().subject_name(named(device)).sign(key, SHA256())
    return found.public_bytes(Encoding.DER)
