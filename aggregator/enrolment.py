"""A fleet's keys and the documents they sign: roles, certificates, revocations, the checkpoint of an empty log.

The root is needed to sign roles and for nothing else; `--dev` and `simulate` keep it beside the others.
"""

from dataclasses import dataclass, field

from accord import merkle
from accord.entropy import Entropy
from accord.ids import checked_device, checked_name
from accord.records import Record
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Certificate, Checkpoint, Revocations, Roles


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The four signing keys of a tenant and what they have signed; nothing secret shows in the repr."""

    tenant: str
    root: SigningKey = field(repr=False)
    enrolment: SigningKey = field(repr=False)
    aggregator: SigningKey = field(repr=False)
    publisher: SigningKey = field(repr=False)
    expires: int
    roles_version: int = 1

    def __post_init__(self) -> None:
        checked_name(self.tenant, "tenant")

    def roles(self) -> bytes:
        """Return the roles document, signed by the root."""
        message = Roles(
            tenant=self.tenant,
            version=self.roles_version,
            expires=self.expires,
            enrolment=self.enrolment.public,
            aggregator=self.aggregator.public,
            publisher=self.publisher.public,
        )
        return _signed(message, self.root, "root", self.tenant)

    def certificate(self, device: str, identity: bytes, serial: int) -> bytes:
        """Return `device`'s certificate for its public identity key, signed by enrolment.

        Raises:
            CodecError: the id can't be a device's.
        """
        message = Certificate(device=checked_device(device), identity=identity, serial=serial, expires=self.expires)
        return _signed(message, self.enrolment, "enrolment", device)

    def revocations(self, version: int = 1, serials: tuple[int, ...] = ()) -> bytes:
        """Return the revocation list, signed by enrolment."""
        message = Revocations(version=version, serials=tuple(sorted(serials)))
        return _signed(message, self.enrolment, "enrolment", self.tenant)

    def checkpoint(self) -> bytes:
        """Return the head of an empty audit log (RFC 6962, section 2.1), signed by the aggregator."""
        return _signed(Checkpoint(size=0, root=merkle.EMPTY_ROOT), self.aggregator, "aggregator", self.tenant)


def _signed(message: Record, key: SigningKey, sender: str, recipient: str) -> bytes:
    return seal(TAG_OF[type(message)], message.encode(), key=key, sender=sender, recipient=recipient).encode()


def new_fleet(tenant: str, entropy: Entropy, expires: int) -> Fleet:
    """Draw a tenant's keys.

    Args:
        tenant: its name.
        entropy: 128 bytes are drawn.
        expires: wall time in seconds at which the roles document and the certificates end.
    """
    return Fleet(
        tenant=tenant,
        root=SigningKey(entropy(32)),
        enrolment=SigningKey(entropy(32)),
        aggregator=SigningKey(entropy(32)),
        publisher=SigningKey(entropy(32)),
        expires=expires,
    )
