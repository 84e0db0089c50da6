"""The model while a round trains it: a float32 vector, or int8 steps for tier int8. Chooses no rows."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord.bundle.grid import WeightGrid
from accord.optimisers import OnGrid, StochasticRounding, finite, optimiser_of
from accord.plan import Training
from accord.runtimes import Runtime
from accord.tensors import Vector


class Learner(Protocol):
    """A model that is trained from the round's parameters on."""

    def step(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
        """Take one step on prepared rows; return their loss, NaN if it or its gradient is not finite: nothing moves."""
        ...

    def change(self, params: Vector) -> Vector | None:
        """Return the trained parameters minus the round's, float32 (P,); None if one is not finite. The last call."""
        ...


class FloatLearner:
    """Parameters in float32: they, their gradient and the optimiser's state are vectors of the model's size.

    Args:
        runtime: computes the gradients.
        training: of the round's plan.
        params: of the round; they stay as they are.
    """

    def __init__(self, runtime: Runtime, training: Training, params: Vector) -> None:
        self._runtime, self._trained = runtime, params.copy()
        self._gradient = np.empty_like(self._trained)
        self._optimiser = optimiser_of(training, params)

    def step(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
        """Take one step."""
        loss, _ = self._runtime.gradients(self._trained, x, y, self._gradient)
        if not (np.isfinite(loss) and finite(self._gradient)):
            return np.nan
        self._optimiser.step(self._trained, self._gradient)
        return loss

    def change(self, params: Vector) -> Vector | None:
        """Return what training changed."""
        return self._trained - params if finite(self._trained) else None


class GridLearner:
    """Weights held as int8 steps, which training starts from the round's parameters rounded up or down at random.

    Rounded to the nearest, every device would begin from one and the same model, and a mean progress of less than half
    a step would be taken back in every round; at random, the mean over devices and rounds is the round's model.

    Args:
        runtime: computes the gradients.
        grid: its grid.
        training: of the round's plan.
        params: of the round.
        key: 32 bytes that decide the rounding.
    """

    def __init__(self, runtime: Runtime, grid: WeightGrid, training: Training, params: Vector, key: bytes) -> None:
        self._runtime, self._grid = runtime, grid
        self._optimiser = OnGrid(grid, optimiser_of(training, params), StochasticRounding(key))
        self._weights, self._moved = self._optimiser.start(params), False

    def step(self, x: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
        """Take one step."""
        loss, slopes = self._runtime.slopes(self._weights, x, y)
        if not (np.isfinite(loss) and all(finite(slope.reshape(-1)) for slope in slopes)):
            return np.nan
        self._optimiser.step(self._weights, slopes)
        self._moved = True
        return loss

    def change(self, params: Vector) -> Vector | None:
        """Return scale * steps minus the round's parameters: what training changed, and the first rounding."""
        if not self._moved:
            return np.zeros_like(params)
        if not (self._optimiser.finite and finite(self._weights.floats)):
            return None
        found = self._grid.values(self._weights)
        return np.subtract(found, params, out=found)


def learner_of(runtime: Runtime, training: Training, params: Vector, key: bytes) -> Learner:
    """Return the round's model as this runtime's bundle trains it.

    Args:
        runtime: opened from the bundle.
        training: of the round's plan.
        params: of the round, float32 (P,).
        key: 32 bytes that decide how int8 weights are rounded, of this piece of work alone.
    """
    if runtime.grid is None:
        return FloatLearner(runtime, training, params)
    return GridLearner(runtime, runtime.grid, training, params, key)
