"""The messages of one secure sum, from JOIN to RESULT. Holds no rule about when one may be sent.

See docs/protocol.md, sections 6 and 7.
"""

from typing import ClassVar

from accord.plan import LARGEST_COHORT
from accord.records import Flag, Int, Many, Name, Nested, Octets, OneOf, Record, Text, field
from accord.signing import SIGNATURE_SIZE
from accord.values import dataclass

KEY = DIGEST = Octets(32)
BITMAP = Octets(1, LARGEST_COHORT // 8)
"""One bit per roster position, least significant bit first; bits behind the last position are zero."""
HOLDERS = 255
"""Of one secret: its dealer and the dealer's neighbours."""
LEAF = 32
SEALED_SHARES = 64 + 16
SHARE_HASHES = 32


@dataclass(frozen=True, kw_only=True)
class Join(Record):
    """Device to aggregator and, in the roster, to its neighbours; bound to ctx1."""

    LIMIT: ClassVar[int] = 1_024

    mask_key: bytes = field(KEY)
    seal_key: bytes = field(KEY)
    certificate: bytes = field(Octets(1, 512))


@dataclass(frozen=True, kw_only=True)
class Member(Record):
    """One JOIN in a roster: its sender, payload and signature; the context is the reader's own ctx1."""

    device: str = field(Name())
    join: bytes = field(Octets(1, 1_024))
    signature: bytes = field(Octets(64))


@dataclass(frozen=True, kw_only=True)
class Roster(Record):
    """Aggregator to a cohort: who is in it, in ascending order of device ids; bound to ctx1.

    On a sparse graph each device gets its own: `members` are itself and its neighbours, and `leaves` holds the hash of
    every member's entry in the tree, 32 bytes each. Where `leaves` is empty, `members` are all.
    """

    LIMIT: ClassVar[int] = 1 << 19

    cohort: str = field(Name())
    profile: str = field(Text(16))
    neighbours: int = field(Int(0, HOLDERS))
    threshold: int = field(Int(0, HOLDERS))
    members: tuple[Member, ...] = field(Many(Nested(Member), 0, LARGEST_COHORT))
    leaves: bytes = field(Octets(0, LEAF * LARGEST_COHORT), b"")

    @property
    def size(self) -> int:
        """Number of members, n, shown or not."""
        return len(self.leaves) // LEAF or len(self.members)


@dataclass(frozen=True, kw_only=True)
class Share(Record):
    """Device to aggregator: commitments, and one sealed pair of shares for every neighbour, in roster order."""

    LIMIT: ClassVar[int] = 1 << 16

    commitment: bytes = field(DIGEST)
    hashes: tuple[bytes, ...] = field(Many(Octets(SHARE_HASHES), 1, HOLDERS))
    sealed: tuple[bytes, ...] = field(Many(Octets(SEALED_SHARES), 0, HOLDERS))


@dataclass(frozen=True, kw_only=True)
class Shares(Record):
    """Aggregator to one device: who dealt shares, and what they sealed for this device, in roster order."""

    dealers: bytes = field(BITMAP)
    sealed: tuple[bytes, ...] = field(Many(Octets(SEALED_SHARES), 0, HOLDERS))


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
