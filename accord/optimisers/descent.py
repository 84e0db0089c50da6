"""Stochastic gradient descent, plain, with heavy-ball momentum, or with Nesterov's."""

import numpy as np

from accord.errors import UsageError
from accord.optimisers.flat import FlatOptimiser
from accord.tensors import Vector


class Sgd(FlatOptimiser):
    """Moves along a velocity v that starts at 0, with d from `FlatOptimiser`.

    Heavy ball:  v ← momentum·v + d;  w ← w - rate·v  (Polyak 1964; as in Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", equations 1 and 2, with the rate taken out of v).
    Nesterov:    v ← momentum·v + d;  w ← w - rate·(d + momentum·v)  (Sutskever et al. 2013, equations 3 and 4, in the
    form of Bengio et al. 2013, "Advances in optimizing recurrent networks", equation 7, where w is the point ahead).

    Args:
        anchor: see `FlatOptimiser`, as all others.
        learning_rate: 0 or more.
        momentum: from 0 to below 1; with 0 no velocity is held.
        nesterov: whether d counts once more behind the velocity.
        proximal: mu of FedProx.
        weight_decay: of an L2 penalty.
        clip_norm: of the gradient; 0 for none.
        warmup_steps: until the whole learning rate.

    Raises:
        UsageError: a rate is outside its range.
    """

    def __init__(
        self,
        anchor: Vector,
        *,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        proximal: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(
            anchor,
            learning_rate=learning_rate,
            proximal=proximal,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            warmup_steps=warmup_steps,
        )
        if not 0.0 <= momentum < 1.0:
            raise UsageError(f"momentum {momentum} is out of range: use 0 to below 1")
        self._momentum, self._nesterov = np.float32(momentum), nesterov
        self._velocity = np.zeros(anchor.shape, np.float32) if momentum else None
        self._now = np.float32(0)

    def _begin(self, step: int, rate: float) -> None:  # noqa: ARG002 - the rule is the same in every step
        self._now = np.float32(rate)

    def _move(self, block: slice, weights: Vector, direction: Vector, scratch: Vector) -> None:
        if self._velocity is None:
            np.multiply(direction, self._now, out=scratch)
        else:
            velocity = self._velocity[block]
            np.multiply(velocity, self._momentum, out=velocity)
            np.add(velocity, direction, out=velocity)
            if self._nesterov:
                np.multiply(velocity, self._momentum, out=scratch)
                np.add(scratch, direction, out=scratch)
                np.multiply(scratch, self._now, out=scratch)
            else:
                np.multiply(velocity, self._now, out=scratch)
        np.subtract(weights, scratch, out=weights)
