"""How a device is enrolled: the invitation that a person carries to it, what it asks for, and what it is given.

The invitation's token never travels: a device proves that it holds it. See docs/protocol.md, section 17.
"""

import hmac
from dataclasses import field as plain
from typing import ClassVar

from accord import cbor, prg
from accord.errors import CodecError
from accord.ids import checked_device
from accord.records import Int, Name, Octets, OneOf, Record, Text, field
from accord.values import dataclass

ENROLMENT = "enrolment"
"""The sender of certificates and answers, and the recipient of requests."""
FORM = "invite/2"
LARGEST_LETTER = 1_024
"""Bytes: a larger letter is no request."""
TOKEN = 32  # random bytes
_KEY = _DIGEST = Octets(32)
_DOCUMENT = Octets(1, 4_096)
CSR, X509 = Octets(0, 512), Octets(0, 2_048)
"""A request for a TLS certificate (PKCS#10) and a certificate (X.509), both DER; empty where there is none."""
REASONS = ("NoInvitation", "InvitationExpired", "InvitationSpent", "WrongToken", "KeyUsedBefore")


@dataclass(frozen=True, kw_only=True)
class Invite(Record):
    """What one invitation file holds: everything that a device needs to ask, and two secrets.

    `ca` is the transport CA's certificate, empty for a broker without TLS; `mutual_port` is where the broker asks for a
    client's certificate, 0 if nowhere.

    Raises:
        CodecError: a field is out of its range, or the id can't be a device's.
    """

    LIMIT: ClassVar[int] = 4_096

    form: str = field(OneOf((FORM,)))
    tenant: str = field(Name())
    device: str = field(Name())
    job: str = field(Name())
    host: str = field(Text(255))
    port: int = field(Int(1, 65_535))
    mutual_port: int = field(Int(0, 65_535))
    ca: bytes = field(X509)
    root: bytes = field(_KEY)
    expires: int = field(Int(0, 2**48))
    token: bytes = field(_KEY)
    password: str = field(Text(256))

    def __post_init__(self) -> None:
        super().__post_init__()
        checked_device(self.device)

    def __repr__(self) -> str:
        return f"Invite(device={self.device!r}, ...)"


@dataclass(frozen=True, kw_only=True)
class Enrol(Record):
    """Device to enrolment, signed by the identity key that it names: certify this key; here is the proof.

    `csr` asks the transport CA for a certificate of the device's TLS key.
    """

    LIMIT: ClassVar[int] = 768

    device: str = field(Name())
    identity: bytes = field(_KEY)
    nonce: bytes = field(Octets(16))
    proof: bytes = field(_DIGEST)
    csr: bytes = field(CSR)


@dataclass(frozen=True, kw_only=True)
class Enrolled(Record):
    """Enrolment to one device: its certificate, and the documents that stand; `request` is the digest of its letter.

    `transport` is the certificate of its TLS key, which is good for connections alone.
    """

    LIMIT: ClassVar[int] = 1 << 20

    request: bytes = field(_DIGEST)
    certificate: bytes = field(Octets(1, 512))
    roles: bytes = field(_DOCUMENT)
    revocations: bytes = field(Octets(1, (1 << 20) - 8_192))
    transport: bytes = field(X509)


@dataclass(frozen=True, kw_only=True)
class Declined(Record):
    """Enrolment to one device: no certificate for this letter, and why. `roles` names enrolment's key."""

    LIMIT: ClassVar[int] = 8_192

    request: bytes = field(_DIGEST)
    reason: str = field(OneOf(REASONS))
    roles: bytes = field(_DOCUMENT)


@dataclass(frozen=True, kw_only=True)
class TokenKey:
    """What enrolment keeps of a token: enough to check a proof, and of no use for another device."""

    device: str
    key: bytes = plain(repr=False)

    def proof(self, identity: bytes, nonce: bytes) -> bytes:
        """Return the proof for a public identity key: KDF(key, ["enrol", device, identity, nonce]), 32 bytes."""
        return prg.kdf(self.key, cbor.encode(["enrol", self.device, identity, nonce]))

    def proves(self, request: Enrol) -> bool:
        """Return whether the sender of a request held the token."""
        return request.device == self.device and hmac.compare_digest(
            self.proof(request.identity, request.nonce), request.proof
        )


def token_key(token: bytes, device: str) -> TokenKey:
    """Derive from a token (32 bytes) what proves it: KDF(token, ["token", device]).

    Raises:
        CodecError: it has another size.
    """
    if len(token) != TOKEN:
        raise CodecError(f"a token has {TOKEN} bytes, not {len(token)}")
    return TokenKey(device=device, key=prg.kdf(token, cbor.encode(["token", device])))
