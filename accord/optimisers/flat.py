"""What every optimiser shares: the gradient is clipped, pulled and decayed block by block. Knows no rule of moving."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from accord.bundle.grid import BLOCK
from accord.errors import UsageError
from accord.tensors import Vector


class FlatOptimiser(ABC):
    """Turns each gradient g into a direction d, in this order, and moves the parameters w along it.

    1. Clipping by global norm: d = g·min(1, clip_norm / ‖g‖₂) (Pascanu, Mikolov and Bengio 2013, "On the difficulty of
       training recurrent neural networks", algorithm 1). The norm is that of all tensors together.
    2. FedProx's pull to the round's model a: d ← d + proximal·(w - a) (Li et al. 2020, "Federated Optimization in
       Heterogeneous Networks", equation 2).
    3. Weight decay as the gradient of an L2 penalty: d ← d + weight_decay·w (Krogh and Hertz 1991, "A Simple Weight
       Decay Can Improve Generalization", equation 3), unless the rule decouples it.

    The learning rate of step t (from 1) is learning_rate·min(1, t / warmup_steps): a linear warm-up (Goyal et al. 2017,
    "Accurate, Large Minibatch SGD", section 2.2), over the steps of a round, because state starts from nothing there.

    A step allocates nothing that grows with P: the working memory is one block or two.

    Args:
        anchor: the round's model, float32 (P,); copied only if `proximal` is not zero.
        learning_rate: 0 or more.
        proximal: mu of FedProx, 0 or more.
        weight_decay: 0 or more.
        clip_norm: the largest norm that a gradient keeps; 0 clips none.
        warmup_steps: steps until the whole learning rate; 0 or 1 for none.

    Raises:
        UsageError: a rate is outside its range.
    """

    def __init__(
        self,
        anchor: Vector,
        *,
        learning_rate: float,
        proximal: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float = 0.0,
        warmup_steps: int = 0,
    ) -> None:
        rates = {
            "learning rate": learning_rate,
            "proximal": proximal,
            "weight decay": weight_decay,
            "clip norm": clip_norm,
            "warm-up steps": warmup_steps,
        }
        for name, rate in rates.items():
            if not 0.0 <= rate < math.inf:
                raise UsageError(f"{name} {rate} is out of range: use 0 or more")
        size = len(anchor)
        self._size, self._rate, self._warmup, self._clip = size, learning_rate, warmup_steps, clip_norm
        self._proximal, self._decay = np.float32(proximal), np.float32(weight_decay)
        self._anchor = anchor.astype(np.float32, copy=True) if proximal else None
        self._blocks = [slice(at, min(at + BLOCK, size)) for at in range(0, size, BLOCK)]
        self._direction = np.empty(min(BLOCK, size), np.float32)
        self._scratch = np.empty(min(BLOCK, size), np.float32)
        self._steps = 0
        self._shrink = 1.0

    @np.errstate(all="ignore")  # what explodes is refused by name after the step
    def step(self, params: Vector, gradient: Vector) -> None:
        """Move `params`, float32 (P,), in place against `gradient`, float32 (P,), which is left as it is.

        Raises:
            UsageError: one of them has another length than the anchor.
        """
        if not len(params) == len(gradient) == self._size:
            raise UsageError(f"{len(params)} parameters and {len(gradient)} slopes where {self._size} are expected")
        self.begin([gradient])
        for block in self._blocks:
            self.move(block, params[block], gradient[block])

    @np.errstate(all="ignore")
    def begin(self, gradient: Sequence[Vector]) -> None:
        """Begin the next step, for whoever holds the parameters in another form and moves them block by block.

        Args:
            gradient: the whole of it in flat parts, float32.
        """
        self._steps += 1
        self._shrink = self._shrinking(gradient) if self._clip else 1.0
        self._begin(self._steps, self._rate * min(1.0, self._steps / max(1, self._warmup)))

    def move(self, block: slice, weights: Vector, gradient: Vector) -> None:
        """Move the parameters of one block in place, once in each step.

        Args:
            block: their place in the flat vector, at most `BLOCK` long.
            weights: they themselves, float32.
            gradient: by them; it is left as it is.
        """
        direction, scratch = gradient, self._scratch[: len(weights)]
        if self._shrink < 1.0:
            direction = np.multiply(direction, np.float32(self._shrink), out=self._direction[: len(weights)])
        if self._anchor is not None:
            np.subtract(weights, self._anchor[block], out=scratch)
            np.multiply(scratch, self._proximal, out=scratch)
            direction = np.add(scratch, direction, out=self._direction[: len(weights)])
        if self._decay:
            np.multiply(weights, self._decay, out=scratch)
            direction = np.add(scratch, direction, out=self._direction[: len(weights)])
        self._move(block, weights, direction, scratch)

    def _shrinking(self, gradient: Sequence[Vector]) -> float:
        blocks = [part[at : at + BLOCK] for part in gradient for at in range(0, len(part), BLOCK)]
        total = 0.0
        for block in blocks:
            total += float(np.dot(block, block))
        if math.isinf(total):  # squares beyond float32
            total = sum(float(np.dot(part, part)) for part in (block.astype(np.float64) for block in blocks))
        return self._clip / math.sqrt(total) if total > self._clip**2 else 1.0

    @abstractmethod
    def _begin(self, step: int, rate: float) -> None:
        """Take up the learning rate of step number `step`, from 1."""

    @abstractmethod
    def _move(self, block: slice, weights: Vector, direction: Vector, scratch: Vector) -> None:
        """Move the weights of one block in place along its direction, which is left as it is; `scratch` is free."""
