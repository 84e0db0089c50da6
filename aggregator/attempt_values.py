"""What an attempt is made of, and what it keeps of each of its cohorts."""

from dataclasses import dataclass, field

from accord.plan import Plan
from accord.update.pipeline import Total
from aggregator import round as engine
from aggregator.round_values import Failed, Opened


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What an attempt is made of: the plan and those who may take part in it."""

    plan: Plan
    data: bytes = field(repr=False)  # the plan's exact bytes
    revocations: bytes = field(repr=False)
    devices: int  # at most
    cohorts: int
    barred: frozenset[str]  # devices that dealt wrong shares in an attempt before


@dataclass
class CohortOf:
    """One cohort of an attempt and how it ended."""

    state: engine.RoundState
    root: bytes
    ended: Opened | Failed | None = None
    total: Total | None = None
