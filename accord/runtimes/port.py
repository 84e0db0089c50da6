"""The port: what a trainer asks of any model runtime. Holds no implementation."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord.bundle.grid import GridWeights, WeightGrid
from accord.tensors import Layout, Vector


class Runtime(Protocol):
    """One model, ready to run. It reuses its buffers: one thread at a time.

    `metric` is that of the rows of the last `gradients`, NaN before the first: for softmax and binary the fraction of
    right rows (binary: and outputs), for mse and huber the mean absolute error, weighted as the loss is. `emulates`
    tells that `exported` gives the int8 model's numbers in float32, as this runtime can't run that model itself.

    `grid` is that of tier int8, None for other tiers. There a float32 vector is rounded to the nearest steps in each
    call; a trainer holds `GridWeights`.
    """

    layout: Layout
    grid: WeightGrid | None
    metric: float

    @property
    def emulates(self) -> bool:
        """Whether `exported` is emulated."""
        ...

    def prepared(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return what the frozen part of the model gives for rows: what `gradients` and `predict` take.

        Rows pass through it once, however often they are trained on. Where nothing is frozen they come back as float32.

        Args:
            x: (N, *input_shape), any N from 0; float32 is quickest.

        Raises:
            UsageError: a shape is wrong.
        """
        ...

    def gradients(
        self,
        params: Vector | GridWeights,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        out: Vector | None = None,
        weights: npt.NDArray[Any] | None = None,
    ) -> tuple[float, Vector]:
        """Return the mean loss of the rows, sum of w·l over sum of w, and its gradient.

        Args:
            params: float32 (P,), contiguous, or weights on the runtime's `grid`; not changed.
            x: N prepared rows, N from 1 to the bundle's batch.
            y: (N,) class indices for softmax; (N,) or (N, outputs) of 0/1 for binary, else of numbers.
            out: float32 (P,) that receives the gradient, by what steps stand for and not by them; a new one if None.
            weights: (N,) finite, from 0 and not all 0: what each row counts; None means ones.

        Raises:
            UsageError: a shape is wrong, a label is not a class, or the weights are not such numbers.
            MemoryError: there is no room for so many rows.
        """
        ...

    def slopes(
        self, weights: GridWeights, x: npt.NDArray[Any], y: npt.NDArray[Any]
    ) -> tuple[float, Sequence[npt.NDArray[np.float32]]]:
        """Return the mean loss of the rows and the gradient by each tensor, in layout order and the runtime's memory.

        It takes the memory that spread-out weights had while the graph ran: a flat vector would come on top.

        Args:
            weights: on the runtime's `grid`; not changed.
            x: as for `gradients`.
            y: as for `gradients`.

        Raises:
            UsageError: as for `gradients`; or there is no grid.
            MemoryError: there is no room for so many rows.
        """
        ...

    def predict(self, params: Vector | GridWeights, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return a new array (N, outputs) for prepared rows, any N from 0: logits for softmax and binary, else values.

        Raises:
            UsageError: a shape is wrong.
        """
        ...

    def exported(self, params: Vector, x: npt.NDArray[Any]) -> npt.NDArray[np.float32] | None:
        """Return what the int8 model that is exported from `params` gives for rows, (N, outputs) for any N from 0.

        None where nothing is rounded. A runtime that `emulates` rounds parameters as the export does, and computes with
        the values that they stand for in the training graph, which rounds activations alike.

        Args:
            params: float32 (P,).
            x: (N, *input_shape), not prepared.
        """
        ...


class Predictor(Protocol):
    """An exported model, ready to run."""

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return a new array (N, outputs) for raw rows (N, *input_shape), any N from 0."""
        ...
