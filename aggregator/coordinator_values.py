"""What goes into the coordinator and what comes out: frozen values."""

from dataclasses import dataclass, field

from accord.plan import CLASSIC, Fixed, Graph, Task, Training, Update
from accord.secagg.ring import Spread
from accord.signing import SigningKey
from accord.update.pipeline import Total
from accord.wire.versions import CohortRoot
from aggregator.round_values import Windows
from aggregator.standing import Standing


@dataclass(frozen=True, kw_only=True)
class Office:
    """The aggregator's own key and the signed documents that it hands on."""

    tenant: str
    key: SigningKey = field(repr=False)
    roles: bytes = field(repr=False)
    roles_version: int
    enrolment: bytes
    revocations: bytes = field(repr=False)
    checkpoint: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One version of the model: float32 parameters as little-endian bytes, and their digest."""

    version: int
    params: bytes = field(repr=False)
    digest: bytes
    bundle_digest: bytes
    bundle_size: int


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the next round shall do."""

    purpose: str
    devices: int
    cohorts: int
    floor: int
    training: Training
    fixed: Fixed
    task: Task
    length: int
    profile: str
    cap: int  # the largest cohort
    fewest_cohorts: int = 1  # of which sums are needed for the model to move
    graph: Graph = field(default_factory=Graph)
    waits_for_all: bool = False  # no cohort is formed without one of them
    update: Update = field(default_factory=Update)
    keys: str = CLASSIC
    support: bytes = field(default=b"", repr=False)  # that the update names


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the coordinator runs a job."""

    job: str
    windows: Windows
    max_attempts: int = 3
    lifetime: int = 86_400  # seconds that a plan holds
    spread: Spread = field(default=map, repr=False)  # shares the work on masks among a pool's workers


@dataclass(frozen=True, kw_only=True)
class Start:
    """Begin the next round with those who are online now.

    `seed` is 32 bytes drawn for it alone: its seal keys and cohorts are derived from there. `checkpoint` is the signed
    head of the audit log that its plans carry, `revocations` the signed list that they name; empty is the office's.
    """

    request: Request
    online: tuple[str, ...]
    checkpoint: bytes = field(repr=False)
    seed: bytes = field(repr=False)
    revocations: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """Bytes came on a device's own topic; `standing` is where it stood, if they are a CHECK-IN."""

    device: str
    data: bytes = field(repr=False)
    standing: Standing | None = None


@dataclass(frozen=True, kw_only=True)
class Presence:
    """A device's birth (`online`) or last will."""

    device: str
    online: bool


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Time has passed."""


Event = Start | Arrived | Presence | Tick


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send an envelope to one device."""

    device: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Settle:
    """Send RESULT to one device, and keep it: a device that missed it asks by sending its last letter again."""

    round: int
    attempt: int
    device: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Stood:
    """Keep where a device stands now, for all jobs."""

    device: str
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class Recall:
    """Send a device a RESULT that was kept for it; `reason` and `detail` are the refusal if there is none.

    `at` is the round and attempt that it is of; None is the last one.
    """

    device: str
    reason: str
    detail: str
    at: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Announce:
    """Publish a signed announcement, retained, on the job's topic `round`, `model` or `result`."""

    topic: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan was made; it is logged before it is offered."""

    plan: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Log:
    """Something was refused and changed nothing."""

    device: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Withdrew:
    """A device left an attempt before its vector, for a reason from the protocol's list; it is waited for no more."""

    round: int
    attempt: int
    device: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Declined:
    """A device that may take part was not offered an attempt, as it can't do what the plan asks for."""

    round: int
    attempt: int
    device: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Aborted:
    """An attempt ended without a sum; another one follows unless `final`."""

    round: int
    attempt: int
    reason: str
    detail: str
    final: bool


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A round ended with the sums of its cohorts; the caller answers with `Coordinator.release` or the next `Start`.

    `transcript` follows from `previous`, the digest of the plan, and `cohorts`: those that closed.
    """

    round: int
    attempt: int
    plan_digest: bytes
    previous: bytes
    transcript: bytes
    cohorts: tuple[CohortRoot, ...]
    totals: tuple[Total, ...]
    included: tuple[str, ...]
    dropped: tuple[str, ...]
    recovered: tuple[str, ...]
    lost_cohorts: tuple[str, ...]


Effect = Send | Settle | Stood | Recall | Announce | Planned | Log | Withdrew | Declined | Aborted | Closed
