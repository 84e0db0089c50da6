"""FedAvg (McMahan et al. 2017): the model moves by the mean change, weighted by rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.errors import UsageError
from accord.tensors import Vector
from aggregator.strategies.change import Change

MOST_TRUSTED = 2
"""Cohorts of which no majority can outvote one."""


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """The weighted mean over cohorts; with one cohort per round it is plain FedAvg."""

    server_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.server_learning_rate <= 10:
            raise UsageError(f"a server learning rate of {self.server_learning_rate} is not above 0 and at most 10")

    @property
    def fewest_cohorts(self) -> int:
        """One has a mean."""
        return 1

    def change(self, means: Sequence[Vector], weights: Sequence[int]) -> Change:
        """Return the weighted mean; see `Strategy.change`."""
        mean = np.average(np.stack(means).astype(np.float64), axis=0, weights=weights)
        return Change(vector=(self.server_learning_rate * mean).astype(np.float32))

    def typical(self, figures: Sequence[float]) -> float:
        """Return the median of three cohorts or more, else the mean; see `Strategy.typical`.

        A figure is no change, which one device can pull by its weight alone: what one device claims has no bound.
        """
        return float(np.median(figures) if len(figures) > MOST_TRUSTED else np.mean(figures))
