"""What goes into a cohort's round and what comes out: phases, windows, events and effects as frozen values."""

from dataclasses import dataclass, field
from enum import Enum

from accord.secagg.ring import Ring
from accord.wire.check_in import Withdraw
from accord.wire.secure_sum import Consistency, Masked, Quorum, Share, Shares, Survivors, Unmask

Message = Share | Masked | Consistency | Unmask | Withdraw
"""What members send in a round."""


class Phase(Enum):
    """Where a cohort stands."""

    SHARING = "sharing"
    COLLECTING = "collecting"
    CONFIRMING = "confirming"
    UNMASKING = "unmasking"
    CLOSED = "closed"
    ABORTED = "aborted"


@dataclass(frozen=True, kw_only=True)
class Windows:
    """How long each phase waits, in seconds.

    `gather` is how long a round waits for devices that are not online before it opens; `grace` is how long a last will
    must stand unrevoked.
    """

    gather: float = 0.0
    join: float = 60.0
    share: float = 60.0
    collect: float = 3_600.0
    confirm: float = 120.0
    unmask: float = 120.0
    grace: float = 60.0

    def of(self, phase: Phase) -> float:
        """Return the length of one phase's window."""
        return {
            Phase.SHARING: self.share,
            Phase.COLLECTING: self.collect,
            Phase.CONFIRMING: self.confirm,
            Phase.UNMASKING: self.unmask,
        }[phase]


@dataclass(frozen=True, kw_only=True)
class Received:
    """A verified message of a member, with the signature of its letter and the digest of its payload, where known."""

    device: str
    message: Message
    signature: bytes = b""
    digest: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Gone:
    """A device's last will was published."""

    device: str


@dataclass(frozen=True, kw_only=True)
class Back:
    """A device's birth revoked its will."""

    device: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """A device can't answer any more, as it said in another way than by a message of the round."""

    device: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Time has passed."""


Event = Received | Gone | Back | Left | Tick


@dataclass(frozen=True, kw_only=True)
class ToDevice:
    """Send this to one device."""

    device: str
    message: Shares


@dataclass(frozen=True, kw_only=True)
class ToCohort:
    """Send this to every member that is still expected."""

    devices: tuple[str, ...]
    message: Survivors | Quorum


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The cohort is closed: its exact sum modulo 2^m, and who is in it."""

    total: Ring = field(repr=False)
    included: tuple[str, ...]
    recovered: tuple[str, ...]
    survivors: bytes


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The cohort was aborted by name; `device` is the wrong dealer, if one is to blame."""

    reason: str
    detail: str
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A message changed nothing; the log names why."""

    device: str
    reason: str
    detail: str


Effect = ToDevice | ToCohort | Opened | Failed | Refused
