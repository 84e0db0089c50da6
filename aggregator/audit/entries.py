"""What one line of the audit log says: that something happened, when, and the digest of what it is about.

An entry holds no document and names nobody who took part in a round: a participation is a salted commitment.
See docs/protocol.md, section 16.
"""

import dataclasses
from typing import Any, ClassVar

from accord import cbor, prg
from accord.errors import CodecError
from accord.ids import checked_name
from accord.plan import Plan
from accord.records import OneOf, Record, Text, field
from accord.values import dataclass
from accord.wire.envelope import Envelope
from accord.wire.messages import DIGEST, SECONDS, Certificate, Release, Revocations, Roles, opened

TAG = "entry/1"
KINDS = (
    "enrolment",
    "revocation",
    "roles",
    "bundle",
    "plan",
    "participation",
    "release",
    "promotion",
    "rollback",
    "bar",
    "refusal",
)


def tag_field(tag: str) -> Any:
    """Declare the field that tells which form a stored record has, so that a later form is told apart."""
    return dataclasses.field(default=tag, metadata={"kind": OneOf((tag,))})


@dataclass(frozen=True, kw_only=True)
class AuditEntry(Record):
    """One entry: `time` in aggregator seconds, `digest` (BLAKE2b-256) of the exact bytes that it is about.

    Raises:
        CodecError: a field is out of its range, or the subject could not be printed.
    """

    LIMIT: ClassVar[int] = 512

    tag: str = tag_field(TAG)
    kind: str = field(OneOf(KINDS))
    time: int = field(SECONDS)
    subject: str = field(Text(256))
    digest: bytes = field(DIGEST)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.subject or not self.subject.isascii() or not self.subject.isprintable():
            raise CodecError("the subject of an audit entry is printable ASCII")


def of_enrolment(time: int, certificate: bytes) -> AuditEntry:
    """Return the entry for a device's signed certificate; the subject is the device."""
    device = opened(Envelope.decode(certificate), Certificate).device
    return AuditEntry(kind="enrolment", time=time, subject=device, digest=prg.digest(certificate))


def of_revocation(time: int, revocations: bytes) -> AuditEntry:
    """Return the entry for a signed revocation list; the subject is its version."""
    version = opened(Envelope.decode(revocations), Revocations).version
    return AuditEntry(kind="revocation", time=time, subject=str(version), digest=prg.digest(revocations))


def of_roles(time: int, roles: bytes) -> AuditEntry:
    """Return the entry for a signed roles document; the subject is its version."""
    version = opened(Envelope.decode(roles), Roles).version
    return AuditEntry(kind="roles", time=time, subject=str(version), digest=prg.digest(roles))


def of_bundle(time: int, job: str, digest: bytes) -> AuditEntry:
    """Return the entry for a bundle that a job offers; the digest is the bundle's own (32 bytes)."""
    return AuditEntry(kind="bundle", time=time, subject=checked_name(job, "job"), digest=digest)


def of_plan(time: int, plan: bytes) -> AuditEntry:
    """Return the entry for a plan's exact bytes; the subject is job/round/attempt."""
    asked = Plan.decode(plan)
    return AuditEntry(
        kind="plan", time=time, subject=attempt(asked.job, asked.round, asked.attempt), digest=prg.digest(plan)
    )


def of_participation(time: int, subject: str, commitment: bytes) -> AuditEntry:
    """Return the entry for one device in one attempt.

    Args:
        time: aggregator time in seconds.
        subject: `attempt(job, round, number)`; never the device.
        commitment: of `commitment`, 32 bytes.
    """
    return AuditEntry(kind="participation", time=time, subject=subject, digest=commitment)


def of_release(time: int, release: bytes) -> AuditEntry:
    """Return the entry for a signed RELEASE; the subject is job/version."""
    message = opened(Envelope.decode(release), Release)
    return AuditEntry(kind="release", time=time, subject=f"{message.job}/{message.version}", digest=prg.digest(release))


def of_promotion(time: int, job: str, version: int, promotion: bytes) -> AuditEntry:
    """Return the entry for what the publisher signed about a version; the subject is job/version."""
    subject = f"{checked_name(job, 'job')}/{version}"
    return AuditEntry(kind="promotion", time=time, subject=subject, digest=prg.digest(promotion))


def of_rollback(time: int, job: str, version: int, letter: bytes) -> AuditEntry:
    """Return the entry for the signed version that brings back an old one; the subject is job/version."""
    subject = f"{checked_name(job, 'job')}/{version}"
    return AuditEntry(kind="rollback", time=time, subject=subject, digest=prg.digest(letter))


def of_bar(time: int, device: str, identity: bytes, reason: str) -> AuditEntry:
    """Return the entry for a device that takes part no more under a key; the subject is the device and the name.

    Args:
        time: aggregator time in seconds.
        device: its id.
        identity: the public key, 32 bytes.
        reason: the name of what it was barred for.
    """
    subject = f"{checked_name(device, 'device id')} {reason}"
    digest = prg.digest(cbor.encode(["accord/1/bar", device, identity, reason]))
    return AuditEntry(kind="bar", time=time, subject=subject, digest=digest)


def of_refusal(time: int, device: str, reason: str, detail: str) -> AuditEntry:
    """Return the entry for a refusal: the subject is the device and the name; the detail is only hashed.

    A detail may quote what a stranger sent.
    """
    subject = f"{checked_name(device, 'device id')} {reason}"
    return AuditEntry(kind="refusal", time=time, subject=subject, digest=prg.digest(detail.encode()))


def attempt(job: str, number: int, tries: int) -> str:
    """Return the subject of what belongs to one attempt of one round: job/round/attempt."""
    return f"{checked_name(job, 'job')}/{number}/{tries}"


def commitment(salt: bytes, device: str, job: str, number: int, tries: int) -> bytes:
    """Return H(["accord/1/participation", salt, device, job, round, attempt]), 32 bytes.

    Without the salt (32 bytes) nobody can tell which device it is about, not even by trying every name.
    """
    return prg.digest(cbor.encode(["accord/1/participation", salt, device, job, number, tries]))
