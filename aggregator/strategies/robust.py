"""Merges that a few bad cohorts cannot move: the coordinates' median and trimmed mean (Yin et al. 2018), behind a gate.

Nobody can look at one device's masked vector, so the unit is the cohort: one bad device spoils the mean of its cohort,
and as many bad devices are tolerated as bad cohorts. Devices are dealt into cohorts anew in each round. Weights are not
used: a bad device could state a large one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.errors import UsageError
from accord.secagg.planner import FEWEST_COHORTS, tolerated
from accord.tensors import Vector
from aggregator.strategies.change import Change, Strategy
from aggregator.strategies.fedavg import FedAvg

NORM_GATE = 3.0


@dataclass(frozen=True, kw_only=True)
class RobustMerge:
    """A median or trimmed mean over cohort means.

    A mean change that is longer than `norm_gate` times the median length of the round is shortened to that: no cohort
    says more than its direction, and a sum that was made to wrap around does no more harm than any other. It is not
    left out, as liars that change nothing could then have honest cohorts left out until they outnumber the rest. 0 is
    no gate.

    Raises:
        UsageError: another merge, or a gate below 1.
    """

    merge: str
    norm_gate: float = NORM_GATE

    def __post_init__(self) -> None:
        if self.merge not in ("median", "trimmed"):
            raise UsageError(f"merge {self.merge!r} is not median or trimmed")
        if self.norm_gate != 0 and not 1 <= self.norm_gate <= 1_000:
            raise UsageError(f"a norm gate of {self.norm_gate} is not 0 (none) or from 1 to 1000 median lengths")

    @property
    def fewest_cohorts(self) -> int:
        """As the planner asks."""
        return FEWEST_COHORTS

    def change(self, means: Sequence[Vector], weights: Sequence[int]) -> Change:  # noqa: ARG002 - see the head
        """Return the merged change; see `Strategy.change`."""
        rows = np.stack(means)
        shortened: tuple[int, ...] = ()
        if self.norm_gate:
            lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
            longest = self.norm_gate * np.median(lengths)
            shortened = tuple(int(at) for at in np.flatnonzero(lengths > longest))
            for at in shortened:
                rows[at] *= np.float32(longest / lengths[at])
        if self.merge == "median":
            merged = np.median(rows, axis=0)
        else:
            cut = tolerated(self.merge, len(means))
            merged = np.sort(rows, axis=0)[cut : len(rows) - cut].mean(axis=0, dtype=np.float64)
        return Change(vector=merged.astype(np.float32), shortened=shortened)

    def typical(self, figures: Sequence[float]) -> float:
        """Return the median; see `Strategy.typical`."""
        return float(np.median(figures))


def strategy(merge: str, norm_gate: float) -> Strategy:
    """Return the strategy of a job: `mean`, `median` or `trimmed`."""
    return FedAvg() if merge == "mean" else RobustMerge(merge=merge, norm_gate=norm_gate)
