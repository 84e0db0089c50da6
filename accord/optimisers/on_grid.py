"""An optimiser for weights that are int8 steps: any rule of this package, whose change is rounded onto the grid.

No float32 copy of the weights is made but that of one block: they are spread out, moved, and rounded again.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from accord.bundle.grid import BLOCK, Block, GridTensor, GridWeights, WeightGrid
from accord.optimisers.flat import FlatOptimiser
from accord.tensors import Vector


class Rounding(Protocol):
    """How changes of steps become whole: `StochasticRounding`, but for comparisons."""

    def add(self, steps: npt.NDArray[np.int8], change: Vector, *, step: int, block: int) -> bool:
        """Change `steps` in place; return whether every change was a number."""
        ...


class OnGrid:
    """Moves `GridWeights` by a rule for float32: with plain SGD, q ← q - round(rate·g / scale), between -127 and 127.

    The gradient g is by the weight, scale·q, so a learning rate means what it means for float32 weights (as the
    quantization-aware scaling of Lin et al. 2022, "On-Device Training Under 256KB Memory", section 3.1, has it). Plain
    SGD holds no state; momentum or Adam hold float32 vectors, if the plan asks for them.

    Args:
        grid: where the weights lie.
        rule: a new optimiser for float32 parameters.
        rounding: new, for this piece of work alone.
    """

    def __init__(self, grid: WeightGrid, rule: FlatOptimiser, rounding: Rounding) -> None:
        self._grid, self._rule, self._rounding = grid, rule, rounding
        self._before, self._after = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
        self._steps = 0
        self.finite = True
        """Whether every change so far was a number; a weight whose change was none is 0."""

    def start(self, params: Vector) -> GridWeights:
        """Return float32 parameters (P,) rounded onto the grid; what lies beyond ends at its end."""
        weights, number = self._grid.empty(), 0
        for tensor in self._grid.tensors:
            if not tensor.blocks:
                weights.floats[tensor.held] = params[tensor.place.offset : tensor.place.offset + tensor.place.size]
            for block in tensor.blocks:
                change = self._after[: block.flat.stop - block.flat.start]
                np.divide(params[block.flat].reshape(block.shape), block.scales, out=change.reshape(block.shape))
                self._round(weights, block, change, number)
                number += 1
        return weights

    @np.errstate(all="ignore")  # what explodes is told by `finite`
    def step(self, weights: GridWeights, slopes: Sequence[npt.NDArray[np.float32]]) -> None:
        """Move `weights` in place against the gradient by each tensor, in layout order, which is left as it is."""
        flat = [np.ascontiguousarray(slope).reshape(-1) for slope in slopes]
        self._steps += 1
        self._rule.begin(flat)
        number = 0
        for tensor, slope in zip(self._grid.tensors, flat, strict=True):
            start = tensor.place.offset
            if not tensor.blocks:
                self._move_floats(tensor, weights.floats[tensor.held], slope)
            for block in tensor.blocks:
                length = block.flat.stop - block.flat.start
                before, after = self._before[:length], self._after[:length]
                held = weights.steps[block.held].reshape(block.shape)
                np.multiply(held, block.scales, out=before.reshape(block.shape))
                after[:] = before
                self._rule.move(block.flat, after, slope[block.flat.start - start : block.flat.stop - start])
                np.subtract(after, before, out=after)  # exactly 0 where nothing moves: a step at rest stays
                np.divide(after.reshape(block.shape), block.scales, out=after.reshape(block.shape))
                self._round(weights, block, after, number)
                number += 1

    def _move_floats(self, tensor: GridTensor, values: Vector, slope: Vector) -> None:
        for at in range(0, tensor.place.size, BLOCK):
            part = slice(at, min(at + BLOCK, tensor.place.size))
            flat = slice(tensor.place.offset + part.start, tensor.place.offset + part.stop)
            self._rule.move(flat, values[part], slope[part])

    def _round(self, weights: GridWeights, block: Block, change: Vector, number: int) -> None:
        finite = self._rounding.add(weights.steps[block.held], change, step=self._steps, block=number)
        self.finite = self.finite and finite
