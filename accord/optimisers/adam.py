"""Adam with bias correction, and AdamW, whose weight decay does not pass through the moments."""

import math

import numpy as np

from accord.errors import UsageError
from accord.optimisers.flat import FlatOptimiser
from accord.tensors import Vector


class Adam(FlatOptimiser):
    """Moves by the ratio of two moments m and v that start at 0, with d from `FlatOptimiser`.

    m ← beta1·m + (1-beta1)·d;  v ← beta2·v + (1-beta2)·d²;
    w ← w - rate·(m/(1-beta1ᵗ)) / (√(v/(1-beta2ᵗ)) + epsilon)
    (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1; computed in the order of the end of
    its section 2, with epsilon scaled so that the result is that of algorithm 1.)
    Decoupled:  w ← w - rate·weight_decay·w  before that, and d without the penalty (Loshchilov and Hutter 2019,
    "Decoupled Weight Decay Regularization", algorithm 2, where the schedule multiplies both).

    It holds two vectors besides the parameters and the gradient.

    Args:
        anchor: see `FlatOptimiser`, as all others.
        learning_rate: 0 or more.
        beta1: from 0 to below 1.
        beta2: from 0 to below 1.
        epsilon: above 0.
        decoupled: AdamW.
        proximal: mu of FedProx.
        weight_decay: of an L2 penalty, or decoupled.
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
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        decoupled: bool = False,
        proximal: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(
            anchor,
            learning_rate=learning_rate,
            proximal=proximal,
            weight_decay=0.0 if decoupled else weight_decay,
            clip_norm=clip_norm,
            warmup_steps=warmup_steps,
        )
        if not (0.0 <= beta1 < 1.0 and 0.0 <= beta2 < 1.0 and 0.0 < epsilon < math.inf):
            raise UsageError(f"beta1 {beta1}, beta2 {beta2}, epsilon {epsilon}: use 0 to below 1 twice, and above 0")
        if not 0.0 <= weight_decay < math.inf:
            raise UsageError(f"weight decay {weight_decay} is out of range: use 0 or more")
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._first = np.zeros(anchor.shape, np.float32)
        self._second = np.zeros(anchor.shape, np.float32)
        self._decoupled = weight_decay if decoupled else 0.0
        self._now = self._near = self._kept = np.float32(0)
        self._old = (np.float32(beta1), np.float32(beta2))
        self._new = (np.float32(1.0 - beta1), np.float32(1.0 - beta2))

    def _begin(self, step: int, rate: float) -> None:
        second = math.sqrt(1.0 - self._beta2**step)
        self._now = np.float32(rate * second / (1.0 - self._beta1**step))
        self._near = np.float32(self._epsilon * second)
        self._kept = np.float32(1.0 - rate * self._decoupled)

    def _move(self, block: slice, weights: Vector, direction: Vector, scratch: Vector) -> None:
        first, second = self._first[block], self._second[block]
        np.multiply(first, self._old[0], out=first)
        np.multiply(direction, self._new[0], out=scratch)
        np.add(first, scratch, out=first)
        np.multiply(direction, direction, out=scratch)
        np.multiply(scratch, self._new[1], out=scratch)
        np.multiply(second, self._old[1], out=second)
        np.add(second, scratch, out=second)
        np.sqrt(second, out=scratch)
        np.add(scratch, self._near, out=scratch)
        np.divide(first, scratch, out=scratch)
        np.multiply(scratch, self._now, out=scratch)
        if self._decoupled:
            np.multiply(weights, self._kept, out=weights)
        np.subtract(weights, scratch, out=weights)
