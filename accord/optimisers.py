"""Optimisers on the flat parameter vector, in place, in NumPy. State lives for one round of one device."""

import numpy as np

from accord.errors import UsageError
from accord.tensors import Vector


class Sgd:
    """Stochastic gradient descent with heavy-ball momentum and FedProx's pull towards the round's model.

    v ← momentum·v + g + proximal·(w - anchor);  w ← w - learning_rate·v
    (Li et al. 2020, "Federated Optimization in Heterogeneous Networks", equation 2, for the proximal term.)

    Args:
        anchor: the round's model, float32 (P,); copied only if `proximal` is not zero.
        learning_rate: positive.
        momentum: from 0 to below 1.
        proximal: mu of FedProx, 0 or more.

    Raises:
        UsageError: a rate is outside its range.
    """

    def __init__(self, anchor: Vector, *, learning_rate: float, momentum: float = 0.0, proximal: float = 0.0) -> None:
        if not (0.0 <= learning_rate < np.inf and 0.0 <= momentum < 1.0 and 0.0 <= proximal < np.inf):
            raise UsageError(
                f"learning rate {learning_rate}, momentum {momentum}, proximal {proximal}: "
                "rates are 0 or more, and momentum is below 1",
            )
        self._rate = np.float32(learning_rate)
        self._momentum = np.float32(momentum)
        self._proximal = np.float32(proximal)
        self._anchor = anchor.astype(np.float32, copy=True) if proximal else None
        self._velocity = np.zeros(anchor.shape, np.float32) if momentum else None
        self._scratch = np.empty(anchor.shape, np.float32)

    @np.errstate(all="ignore")  # what explodes is refused by name after the last step
    def step(self, params: Vector, gradient: Vector) -> None:
        """Move `params`, float32 (P,), in place against `gradient`, which is left as it is."""
        scratch = self._scratch
        direction = gradient
        if self._anchor is not None:
            np.subtract(params, self._anchor, out=scratch)
            np.multiply(scratch, self._proximal, out=scratch)
            np.add(scratch, gradient, out=scratch)
            direction = scratch
        if self._velocity is not None:
            np.multiply(self._velocity, self._momentum, out=self._velocity)
            np.add(self._velocity, direction, out=self._velocity)
            direction = self._velocity
        np.multiply(direction, self._rate, out=scratch)
        np.subtract(params, scratch, out=params)
