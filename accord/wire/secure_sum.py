"""The messages of one secure sum, from JOIN to RESULT. Holds no rule about when one may be sent.

See docs/protocol.md, sections 6 and 7.
"""

from functools import cached_property
from typing import ClassVar

from accord import cbor
from accord.plan import LARGEST_COHORT, PUBLIC_KEY
from accord.records import Flag, Int, Many, Name, Nested, Octets, OneOf, Record, Sized, Text, field
from accord.signing import SIGNATURE_SIZE
from accord.values import dataclass

KEY = DIGEST = Octets(32)
SEALED_SHARES = 64 + 16
ENTRY = Sized((SEALED_SHARES, SEALED_SHARES + 1_088, SEALED_SHARES + 1_088 + 1_152))
"""A sealed pair of shares; with ML-KEM a ciphertext before it, and from a lower id to a higher an offer before both."""
BITMAP = Octets(1, LARGEST_COHORT // 8)
"""One bit per roster position, least significant bit first; bits behind the last position are zero."""
TOO_FEW_COHORTS = "TooFewCohorts"
"""The reason of a RESULT whose sum was opened and moves nothing: fewer cohorts closed than the merge needs."""
LARGEST = (1 << 20) - 8_192
"""Bytes of a message that goes over a broker in one piece."""
HOLDERS = 255
"""Of one secret: its dealer and the dealer's neighbours."""
LEAF = 32
SHARE_HASHES = 32


@dataclass(frozen=True, kw_only=True)
class Join(Record):
    """Device to aggregator and, in the roster, to its neighbours; bound to ctx1."""

    LIMIT: ClassVar[int] = 1 << 12

    mask_key: bytes = field(PUBLIC_KEY)
    seal_key: bytes = field(PUBLIC_KEY)
    certificate: bytes = field(Octets(1, 512))


@dataclass(frozen=True, kw_only=True)
class Member(Record):
    """One JOIN in a roster, without what its reader knows: the context is the reader's own ctx1.

    The JOIN and the certificate in it are put together again from these fields, as a value has one encoding.
    """

    device: str = field(Name())
    mask_key: bytes = field(PUBLIC_KEY)
    seal_key: bytes = field(PUBLIC_KEY)
    identity: bytes = field(KEY)
    serial: int = field(Int(0, 2**32))
    expires: int = field(Int(0, 2**48))
    certified: bytes = field(Octets(64))  # enrolment's signature of the certificate
    signature: bytes = field(Octets(64))  # of the JOIN

    @cached_property
    def encoded(self) -> bytes:
        """Its encoding, made once: it stands in the roster of every neighbour."""
        return super().encode()

    def encode(self) -> bytes:
        """Return the one encoding."""
        return self.encoded


@dataclass(frozen=True, kw_only=True)
class Roster(Record):
    """Aggregator to a cohort: who is in it, in ascending order of device ids; bound to ctx1.

    On a sparse graph each device gets its own: of `whole` members `members` are itself and its neighbours, `shown` says
    at which positions, and from `proof`, hashes of 32 bytes, the head of the tree of all entries follows. Where `whole`
    is 0, `members` are all.
    """

    LIMIT: ClassVar[int] = LARGEST

    cohort: str = field(Name())
    profile: str = field(Text(16))
    neighbours: int = field(Int(0, HOLDERS))
    threshold: int = field(Int(0, HOLDERS))
    members: tuple[Member, ...] = field(Many(Nested(Member), 0, LARGEST_COHORT))
    whole: int = field(Int(0, LARGEST_COHORT), 0)
    shown: bytes = field(Octets(0, LARGEST_COHORT // 8), b"")
    proof: bytes = field(Octets(0, LEAF * LARGEST_COHORT), b"")

    @property
    def size(self) -> int:
        """Number of members, n, shown or not."""
        return self.whole or len(self.members)

    def encode(self) -> bytes:
        """Return the one encoding, put together from those of the members."""
        before = (self.cohort, self.profile, self.neighbours, self.threshold)
        members = cbor.array([member.encoded for member in self.members])
        return cbor.array([*map(cbor.encode, before), members, *map(cbor.encode, (self.whole, self.shown, self.proof))])


@dataclass(frozen=True, kw_only=True)
class Share(Record):
    """Device to aggregator: commitments, and one sealed pair of shares for every neighbour, in roster order."""

    LIMIT: ClassVar[int] = LARGEST

    commitment: bytes = field(DIGEST)
    hashes: tuple[bytes, ...] = field(Many(Octets(SHARE_HASHES), 1, HOLDERS))
    sealed: tuple[bytes, ...] = field(Many(ENTRY, 0, HOLDERS))


@dataclass(frozen=True, kw_only=True)
class Shares(Record):
    """Aggregator to one device: who dealt shares, and what they sealed for this device, in roster order."""

    LIMIT: ClassVar[int] = LARGEST

    dealers: bytes = field(BITMAP)
    sealed: tuple[bytes, ...] = field(Many(ENTRY, 0, HOLDERS))


@dataclass(frozen=True, kw_only=True)
class Masked(Record):
    """Device to aggregator: the packed masked vector, and whose shares it was masked against."""

    LIMIT: ClassVar[int] = 1 << 31

    dealers: bytes = field(BITMAP)
    vector: bytes = field(Octets(0, (1 << 31) - 8_192))


@dataclass(frozen=True, kw_only=True)
class Survivors(Record):
    """Aggregator to a cohort: whose masked vectors arrived."""

    survivors: bytes = field(BITMAP)


@dataclass(frozen=True, kw_only=True)
class Consistency(Record):
    """Device to aggregator, in profile `strict`: the survivor set that it will answer for, and no other.

    The letter's signature is what counts: the aggregator hands it on in QUORUM.
    """

    survivors: bytes = field(BITMAP)


@dataclass(frozen=True, kw_only=True)
class Quorum(Record):
    """Aggregator to the survivors, in profile `strict`: who signed the survivor set, and their signatures in order."""

    survivors: bytes = field(BITMAP)
    signers: bytes = field(BITMAP)
    signatures: tuple[bytes, ...] = field(Many(Octets(SIGNATURE_SIZE), 0, HOLDERS))


@dataclass(frozen=True, kw_only=True)
class Unmask(Record):
    """Device to aggregator: one share per dealer, sealed to the plan's key; nothing in profile `off`."""

    sealed: bytes = field(Octets(0, 1 << 15))


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """Aggregator to one device: how the attempt ended, and whether this device is in the sum."""

    status: str = field(OneOf(("closed", "aborted")))
    reason: str = field(Text(64))
    included: bool = field(Flag())
    survivors: bytes = field(Octets(0, LARGEST_COHORT // 8))
    transcript: bytes = field(DIGEST)

    @property
    def unused(self) -> bool:
        """Whether the sum was opened, and the model stays as it is all the same."""
        return self.status == "closed" and self.reason == TOO_FEW_COHORTS
