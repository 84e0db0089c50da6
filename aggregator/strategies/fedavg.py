"""FedAvg (McMahan et al. 2017): the model moves by the mean change, weighted by rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accord.errors import UsageError
from accord.tensors import Vector


@dataclass(frozen=True, kw_only=True)
class FedAvg:
    """The weighted mean over cohorts; with one cohort per round it is plain FedAvg."""

    server_learning_rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.server_learning_rate <= 10:
            raise UsageError(f"a server learning rate of {self.server_learning_rate} is not above 0 and at most 10")

    def merged(self, params: Vector, means: Sequence[Vector], weights: Sequence[int]) -> Vector:
        """Return the next parameters, float32 of shape (P,).

        Args:
            params: the current ones.
            means: one mean change per cohort.
            weights: the summed weight of each cohort.
        """
        change = np.average(np.stack(means).astype(np.float64), axis=0, weights=weights)
        return (params + self.server_learning_rate * change).astype(np.float32)
