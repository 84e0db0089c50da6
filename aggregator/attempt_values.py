"""What an attempt is made of, and what it keeps of each of its cohorts."""

from collections.abc import Callable
from dataclasses import dataclass, field

from accord.errors import Refusal
from accord.plan import Plan
from accord.update.pipeline import Total
from accord.wire.secure_sum import Result
from aggregator import round as engine
from aggregator.round_values import Failed, Opened


def from_empty(old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the audit log of no entries begins with the one that a device saw last.

    Raises:
        Refusal: `LogBehind`, the device saw entries.
    """
    if old_size:
        raise Refusal("LogBehind", f"a log of {old_size} entries has been seen; this one has 0")
    return ()


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What an attempt is made of: the plan and those who may take part in it."""

    plan: Plan
    data: bytes = field(repr=False)  # the plan's exact bytes
    revocations: bytes = field(repr=False)
    support: bytes = field(default=b"", repr=False)  # that the plan's update names
    devices: int  # at most
    cohorts: int
    waits_for_all: bool
    barred: frozenset[str]  # devices that dealt wrong shares in an attempt before
    sitting_out: frozenset[str] = frozenset()  # devices that withdrew from the round: nobody waits for them
    prove: Callable[[int], tuple[bytes, ...]] = from_empty  # size seen -> proof up to the plan's checkpoint, or Refusal


@dataclass
class CohortOf:
    """One cohort of an attempt and how it ended."""

    state: engine.RoundState
    root: bytes
    ended: Opened | Failed | None = None
    total: Total | None = None

    def result(self, device: str, transcript: bytes, unused: str = "") -> Result:
        """Return what one member is told of how the cohort ended; `transcript` is the round's.

        `unused` is why no sum of the round moves anything; empty if they do.
        """
        ended = self.ended
        return Result(
            status="closed" if isinstance(ended, Opened) else "aborted",
            reason=ended.reason if isinstance(ended, Failed) else unused,
            included=isinstance(ended, Opened) and device in ended.included,
            survivors=ended.survivors if isinstance(ended, Opened) else b"",
            transcript=transcript,
        )
