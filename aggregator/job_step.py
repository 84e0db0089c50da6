"""What a closed round changed of its job. Holds values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from accord.update.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a closed round changed: summed figures, and the next snapshot if the model moved.

    `saturated` is the share of values that devices had to cut; above what the scales allow they `doubled`.
    `shortened` are the cohorts whose means the merge shortened; `reason` is why the model did not move, if so. A
    statistics round with a reason is no step: without statistics there is nothing to train with. `left_out` is the
    number of cohorts whose statistics no rows can have. `way_down` is how a release after training says what it
    changed, one of those of `way_down.REASONS`; empty if there is none.
    """

    purpose: str
    figures: Mapping[str, list[float]]
    snapshot: Snapshot | None = field(default=None, repr=False)
    saturated: float = 0.0
    doubled: bool = False
    reason: str = ""
    shortened: tuple[str, ...] = ()
    left_out: int = 0
    way_down: str = ""
