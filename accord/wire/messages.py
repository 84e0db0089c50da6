"""Every message as a frozen record, and the one table of tags. Holds no rule about when one may be sent.

A field added later changes the number in the tag, and the old vectors stay as refusals.
See docs/protocol.md, section 6.
"""

from typing import ClassVar

from accord.errors import CodecError
from accord.merkle import LARGEST_PROOF
from accord.records import Flag, Int, Many, Name, Octets, OneOf, Record, RecordType, Text, field
from accord.values import dataclass
from accord.wire.check_in import Ask, CheckIn, Later, Withdraw
from accord.wire.chunks import Get, Have, Manifest, Merged
from accord.wire.enrolment import Declined, Enrol, Enrolled
from accord.wire.envelope import Envelope
from accord.wire.secure_sum import (
    Consistency,
    Join,
    Masked,
    Quorum,
    Result,
    Roster,
    Share,
    Shares,
    Survivors,
    Unmask,
)
from accord.wire.versions import Measurement, Promotion, Version

KEY = DIGEST = Octets(32)
VERSION = Int(0, 2**32)
SECONDS = Int(0, 2**48)
SIZE = Int(0, 2**31)
LOG_SIZE = Int(0, 2**53)


@dataclass(frozen=True, kw_only=True)
class Roles(Record):
    """Signed by the fleet root: which keys may do what, until when."""

    tenant: str = field(Name())
    version: int = field(VERSION)
    expires: int = field(SECONDS)
    enrolment: bytes = field(KEY)
    aggregator: bytes = field(KEY)
    publisher: bytes = field(KEY)


@dataclass(frozen=True, kw_only=True)
class Certificate(Record):
    """Signed by enrolment: a device's identity key."""

    LIMIT: ClassVar[int] = 256

    device: str = field(Name())
    identity: bytes = field(KEY)
    serial: int = field(VERSION)
    expires: int = field(SECONDS)


@dataclass(frozen=True, kw_only=True)
class Revocations(Record):
    """Signed by enrolment: the serial numbers that are no longer valid, ascending."""

    LIMIT: ClassVar[int] = 1 << 20

    version: int = field(VERSION)
    serials: tuple[int, ...] = field(Many(VERSION, 0, 99_000))

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.serials) != sorted(set(self.serials)):
            raise CodecError("revoked serial numbers are listed once, in ascending order")


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Record):
    """Signed by the aggregator: the head of its audit log (RFC 6962, section 2.1)."""

    size: int = field(LOG_SIZE)
    root: bytes = field(DIGEST)


@dataclass(frozen=True, kw_only=True)
class State(Record):
    """Birth (`online`) or last will of a connection; unsigned, so it is a hint. `birth` tells a stale will apart.

    `job` is the one that a device takes part in; empty for the aggregator.
    """

    LIMIT: ClassVar[int] = 384

    online: bool = field(Flag())
    birth: int = field(Int(0, 2**63))
    job: str = field(Text(64))


@dataclass(frozen=True, kw_only=True)
class Beat(Record):
    """Heartbeat: what this connection has carried so far, in bytes; unsigned, for figures only."""

    LIMIT: ClassVar[int] = 128

    bytes_up: int = field(Int(0, 2**63))
    bytes_down: int = field(Int(0, 2**63))
    payload_up: int = field(Int(0, 2**63))
    payload_down: int = field(Int(0, 2**63))


@dataclass(frozen=True, kw_only=True)
class Opening(Record):
    """Aggregator to everybody: an attempt of a round is open to devices that hold this version. A hint, not a plan."""

    job: str = field(Name())
    round: int = field(VERSION)
    attempt: int = field(VERSION)
    base_version: int = field(VERSION)
    bundle_digest: bytes = field(DIGEST)
    bundle_size: int = field(SIZE)
    params_digest: bytes = field(DIGEST)
    params_size: int = field(SIZE)


LARGEST_SUPPORT = 1 << 19
"""Bytes of a support: it comes with the plan, as the revocation list does."""


@dataclass(frozen=True, kw_only=True)
class Offer(Record):
    """PLAN, aggregator to one device: the plan's bytes beside the device's own nonce."""

    nonce: bytes = field(Octets(16))
    now: int = field(SECONDS)
    plan: bytes = field(Octets(1, 60_000))
    revocations: bytes = field(Octets(1, 1 << 20))
    consistency: tuple[bytes, ...] = field(Many(DIGEST, 0, LARGEST_PROOF))  # from `log_size` to the plan's checkpoint
    support: bytes = field(Octets(0, LARGEST_SUPPORT), b"")  # that the plan's update names

    LIMIT: ClassVar[int] = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Release(Record):
    """Aggregator to everybody: a new version of the model."""

    job: str = field(Name())
    version: int = field(VERSION)
    round: int = field(VERSION)
    bundle_digest: bytes = field(DIGEST)
    bundle_size: int = field(SIZE)
    params_digest: bytes = field(DIGEST)
    params_size: int = field(SIZE)
    transcript: bytes = field(DIGEST)


@dataclass(frozen=True, kw_only=True)
class Outcome(Record):
    """Aggregator to everybody: how a round ended, in counts and roots only."""

    job: str = field(Name())
    round: int = field(VERSION)
    attempt: int = field(VERSION)
    status: str = field(OneOf(("closed", "aborted")))
    reason: str = field(Text(64))
    included: int = field(VERSION)
    transcript: bytes = field(DIGEST)


TAGS: dict[str, type[Record]] = {
    "roles/1": Roles,
    "certificate/1": Certificate,
    "revocations/1": Revocations,
    "checkpoint/1": Checkpoint,
    "state/2": State,
    "beat/1": Beat,
    "opening/1": Opening,
    "check-in/4": CheckIn,
    "later/1": Later,
    "plan/7": Offer,
    "join/2": Join,
    "roster/4": Roster,
    "share/2": Share,
    "shares/2": Shares,
    "masked/1": Masked,
    "survivors/1": Survivors,
    "consistency/1": Consistency,
    "quorum/1": Quorum,
    "unmask/1": Unmask,
    "result/1": Result,
    "ask/1": Ask,
    "withdraw/1": Withdraw,
    "release/1": Release,
    "outcome/1": Outcome,
    "manifest/1": Manifest,
    "get/2": Get,
    "merged/1": Merged,
    "have/1": Have,
    "version/1": Version,
    "promotion/1": Promotion,
    "measurement/1": Measurement,
    "enrol/2": Enrol,
    "enrolled/2": Enrolled,
    "declined/1": Declined,
}
TAG_OF: dict[type[Record], str] = {record: tag for tag, record in TAGS.items()}


def opened(envelope: Envelope, record: type[RecordType]) -> RecordType:
    """Return the message in `envelope`, which is expected to be of one class.

    Raises:
        CodecError: it has another tag, or its payload is not a valid message.
    """
    if envelope.tag != TAG_OF[record]:
        raise CodecError(f"{envelope.sender} sent {envelope.tag!r} where {TAG_OF[record]!r} is expected")
    return record.decode(envelope.payload)
