"""What goes into a device's session and what comes out, and what it is born with: frozen values."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from accord.errors import ProtocolError, Refusal, SignatureError, UsageError
from accord.plan import CLASSIC, KEYS, SMALLEST_COHORT, STANDARD, STRICT, Plan
from accord.signing import SigningKey
from accord.update.pipeline import Contribution
from accord.values import dataclass
from accord.wire.check_in import FAILED


class Stage(Enum):
    """Where a device stands in an attempt."""

    IDLE = "idle"
    FETCHING = "fetching"
    CHECKED_IN = "checked-in"
    JOINED = "joined"
    SHARED = "shared"
    WORKING = "working"
    MASKED = "masked"
    CONFIRMED = "confirmed"
    ANSWERED = "answered"
    WITHDRAWN = "withdrawn"


OUTSIDE = frozenset((Stage.IDLE, Stage.FETCHING, Stage.CHECKED_IN, Stage.WITHDRAWN))
"""Stages in which a device is bound to nothing."""
TRANSITIONS: Mapping[Stage, Mapping[str, Stage]] = {
    Stage.IDLE: {"opening": Stage.FETCHING},
    Stage.FETCHING: {"opening": Stage.FETCHING, "fetched": Stage.CHECKED_IN, "round closed": Stage.IDLE},
    Stage.CHECKED_IN: {
        "opening": Stage.FETCHING,
        "plan": Stage.JOINED,
        "later": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.JOINED: {
        "opening": Stage.FETCHING,
        "roster": Stage.SHARED,
        "unmasked roster": Stage.WORKING,
        "result": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.SHARED: {
        "opening": Stage.FETCHING,
        "shares": Stage.WORKING,
        "result": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.WORKING: {
        "opening": Stage.FETCHING,
        "worked": Stage.MASKED,
        "gave up": Stage.WITHDRAWN,
        "result": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.MASKED: {
        "opening": Stage.FETCHING,
        "survivors": Stage.ANSWERED,
        "survivors to confirm": Stage.CONFIRMED,
        "result": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.CONFIRMED: {
        "opening": Stage.FETCHING,
        "quorum": Stage.ANSWERED,
        "result": Stage.IDLE,
        "round closed": Stage.IDLE,
    },
    Stage.ANSWERED: {"opening": Stage.FETCHING, "result": Stage.IDLE},
    Stage.WITHDRAWN: {"opening": Stage.FETCHING, "result": Stage.IDLE},
}
"""Every event that is not in a stage's row is refused as `OutOfOrder` and changes nothing."""


LARGEST_UPDATE = 256_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What this device refuses whatever a plan says."""

    smallest_cohort: int = 20  # members whose JOIN and certificate this device verified itself
    max_attempts: int = 3  # times one round may train on this device's rows
    allow_unmasked: bool = False  # whether the aggregator may see this device's own update
    max_epochs: int = 100  # local passes per round
    complete_up_to: int = 100  # members of a cohort in which it must mask with everyone
    profile: str = STANDARD  # the weakest that it takes part in; strict: only where a quorum signs the survivor set
    keys: str = CLASSIC  # the weakest that it takes part with; x25519+mlkem768: only where keys have ML-KEM, too
    smallest_threshold: int = 0  # percent of a roster whose shares a secret must need; 0: what the plan's rule gives
    largest_update: int = LARGEST_UPDATE  # bytes of a vector that it sends in one attempt

    def __post_init__(self) -> None:
        if self.smallest_cohort < SMALLEST_COHORT:
            raise UsageError(
                f"a smallest cohort of {self.smallest_cohort} is refused: with fewer than {SMALLEST_COHORT} "
                "each could learn the others' updates",
            )
        if self.max_attempts < 1 or self.max_epochs < 1:
            raise UsageError("max_attempts and max_epochs are at least 1")
        if not 0 <= self.complete_up_to <= 255:
            raise UsageError("complete_up_to is from 0 (any cohort may be sparse) to 255")
        if self.profile not in (STANDARD, STRICT):
            raise UsageError(
                f"profile {self.profile!r} is not {STANDARD} or {STRICT}; who allows updates without masks, too, sets "
                "allow_unmasked"
            )
        if self.profile == STRICT and self.allow_unmasked:
            raise UsageError("profile strict and allow_unmasked contradict each other: choose one")
        if self.largest_update < 1:
            raise UsageError("largest_update is at least 1 byte")
        if self.keys not in KEYS:
            raise UsageError(f"keys {self.keys!r} is not {' or '.join(KEYS)}")
        if not 0 <= self.smallest_threshold <= 100:
            raise UsageError("smallest_threshold is a percentage of the roster, from 0 to 100")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who this device is, and whom it believes."""

    device: str
    tenant: str
    key: SigningKey = field(repr=False)
    certificate: bytes = field(repr=False)
    root: bytes
    roles: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What must survive a restart: how far this device has gone in one job. It never goes back.

    `transcript` is that of `closed_round`, the last round whose result this device saw; the next round's plan must name
    it. `version` is the newest version of the model that this device has held, and `params` its digest, which is empty
    before the first one. `sat_out` is the last round whose later attempts are left alone: its work can't be
    done here.
    """

    round: int = 0
    attempt: int = 0
    participations: int = 0
    roles_version: int = 0
    revocations_version: int = 0
    closed_round: int = 0
    transcript: bytes = bytes(32)
    version: int = 0
    params: bytes = b""
    sat_out: int = 0
    checkpoint: bytes = b""  # the signed head of the audit log that this device acted on last


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """An envelope came from the aggregator's topics."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The parameters that an opening named are here, verified by their digest."""

    params_digest: bytes
    bundle_digest: bytes


@dataclass(frozen=True, kw_only=True)
class Worked:
    """Training or measuring is done."""

    found: Contribution


@dataclass(frozen=True, kw_only=True)
class GaveUp:
    """Training failed on this device, and the attempt goes on without it: `why` is one of `WITHDRAWALS`."""

    reason: str
    why: str = FAILED


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A roles document came, from whomever: the root's signature is what counts."""

    data: bytes = field(repr=False)


Event = Arrived | Fetched | Worked | GaveUp | Heard


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send an envelope to the aggregator; `payload` of its bytes are the update itself."""

    data: bytes = field(repr=False)
    payload: int = 0


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Get these objects, by digest and size in bytes, unless they are here."""

    params_digest: bytes
    params_size: int
    bundle_digest: bytes
    bundle_size: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """Do what the plan asks with the base version, of `params_size` bytes, and come back with `Worked`."""

    plan: Plan
    params_size: int


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Write the ledger before anything that follows leaves the device."""

    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Write a record of `edge_sdk.saved` under its file's name, before the letter in it leaves."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Believe:
    """Write a newer roles document: it is in force from here on."""

    roles: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Delete these files of the attempt, in this order."""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An attempt ended for this device."""

    round: int
    attempt: int
    status: str
    included: bool


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Something was refused and changed nothing, or ended the attempt for this device."""

    reason: str
    detail: str

    @classmethod
    def of(cls, error: ProtocolError) -> "Refused":
        """Name what was wrong with a letter or document."""
        if isinstance(error, Refusal):
            return cls(reason=error.reason, detail=error.detail)
        return cls(reason="BadSignature" if isinstance(error, SignatureError) else "BadMessage", detail=str(error))


Effect = Send | Fetch | Work | Charge | Keep | Believe | Forget | Finished | Refused
