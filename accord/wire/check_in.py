"""How a device offers to take part in an attempt, is asked to wait, leaves one, and asks what became of one.

See docs/protocol.md, section 6.
"""

from typing import ClassVar

from accord.errors import CodecError
from accord.records import Int, Many, Name, Octets, OneOf, Record, Text, field
from accord.values import dataclass

_NUMBER = Int(0, 2**32)
_NONCE = Octets(16)
BIRTH = Int(0, 2**63 - 1)
BARRED = "barred: "
"""What the reason of a LATER begins with that will not get better by itself."""


NO_COMPRESSOR = "NoCompressor"
"""The reason of a LATER to a device that can't send what the round asks for, until its owner installs something."""
FAILED = "TrainingFailed"
WITHDRAWALS = ("OutOfMemory", "NotFinite", "WrongLabel", "CorruptGraph", FAILED)
"""Why a device leaves an attempt. All but the last would come again in a later attempt of the same round."""


@dataclass(frozen=True, kw_only=True)
class CheckIn(Record):
    """Device to aggregator: I hold this version and can take part; answer with my nonce.

    `round` and `attempt` are those of the opening, so that a letter that comes late is no sign of anything. `sequence`
    counts the participations that this device has charged, and `birth` the starts of its process: neither goes back
    while a device has one state folder, and that is never an older copy. `compressors` are the names, sorted, of what
    the device can compress an update with; one that the aggregator does not know says nothing to it.
    """

    LIMIT: ClassVar[int] = 2_048

    nonce: bytes = field(_NONCE)
    job: str = field(Name())
    round: int = field(_NUMBER)
    attempt: int = field(_NUMBER)
    base_version: int = field(_NUMBER)
    params_digest: bytes = field(Octets(32))
    roles_version: int = field(_NUMBER)
    certificate: bytes = field(Octets(1, 512))
    log_size: int = field(Int(0, 2**53))  # of the audit checkpoint that this device acted on last
    sequence: int = field(_NUMBER)
    birth: int = field(BIRTH)
    compressors: tuple[str, ...] = field(Many(Name(), 0, 8))

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.compressors) != sorted(set(self.compressors)):
            raise CodecError("compressors are named once, in ascending order")


@dataclass(frozen=True, kw_only=True)
class Withdraw(Record):
    """Device to aggregator, bound to ctx2: my vector will not come; do not wait for it.

    The reason is a name from a fixed list: it says nothing of any row.
    """

    LIMIT: ClassVar[int] = 64

    reason: str = field(OneOf(WITHDRAWALS))


@dataclass(frozen=True, kw_only=True)
class Ask(Record):
    """Device to aggregator: I have gone on without the RESULT of this attempt; send it again."""

    LIMIT: ClassVar[int] = 256

    job: str = field(Name())
    round: int = field(_NUMBER)
    attempt: int = field(_NUMBER)


@dataclass(frozen=True, kw_only=True)
class Later(Record):
    """Aggregator to one device: not this attempt; wait for the next opening."""

    nonce: bytes = field(_NONCE)
    reason: str = field(Text(64))
