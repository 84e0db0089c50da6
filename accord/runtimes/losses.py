"""The three losses in NumPy: mean over rows (and outputs), with the slope at the outputs written over them.

`softmax` takes class indices, `binary` zeros and ones, `mse` numbers. Stable for any finite output.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes.initial import uniform

Floats = npt.NDArray[np.float32]


def flat_rows(x: npt.NDArray[Any], input_shape: tuple[int, ...]) -> Floats:
    """Return `x` (N, *input_shape) as float32 (N, F), without a copy where it is one already.

    Raises:
        UsageError: another shape.
    """
    if x.shape[1:] != input_shape:
        raise UsageError(f"rows of shape {x.shape[1:]} where the model takes {input_shape}")
    if len(input_shape) > 1:
        x = x.reshape(x.shape[0], math.prod(input_shape))
    return x if x.dtype == np.float32 else x.astype(np.float32)


def checked_targets(y: npt.NDArray[Any], rows: int, target_shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return `y` in the shape (rows, *target_shape); a trailing 1 may be missing or one too many.

    Raises:
        UsageError: another shape.
    """
    shape = (rows, *target_shape)
    if y.shape == shape:
        return y
    if y.size == math.prod(shape) and y.shape[:1] == (rows,) and y.ndim <= len(shape) + 1:
        return y.reshape(shape)
    raise UsageError(f"targets of shape {y.shape} where {shape} is expected")


class Loss(Protocol):
    """One loss."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Return the buffers for `rows` rows."""
        ...

    def replace_by_slope(self, logits: Floats, y: npt.NDArray[Any], buffers: tuple[Any, ...]) -> float:
        """Return the mean loss; `logits` (N, outputs) becomes its gradient."""
        ...

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """Return random targets (rows, *target_shape) for golden vectors."""
        ...


class Softmax:
    """-log softmax(z)[y]; slope (softmax(z) - onehot(y)) / N."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Column buffers, where each row starts in the flat logits, and the flat places of the labels."""
        column = np.empty((rows, 1), np.float32)
        starts = np.arange(0, rows * outputs, outputs, dtype=np.int64)
        return column, starts, np.empty(rows, np.int64), np.float32(1.0 / rows)

    def replace_by_slope(self, logits: Floats, y: npt.NDArray[Any], buffers: tuple[Any, ...]) -> float:
        """See `Loss`."""
        column, starts, places, share = buffers
        rows, outputs = logits.shape
        if y.dtype.kind not in "iu":
            raise UsageError(f"softmax labels are integers, not {y.dtype}")
        labels = checked_targets(y, rows, ())
        if int(labels.min()) < 0 or int(labels.max()) >= outputs:
            raise UsageError(f"a label lies outside the classes 0 to {outputs - 1}")
        np.add(starts, labels, out=places)
        flat = logits.reshape(-1)
        np.maximum.reduce(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=logits)
        chosen = float(np.add.reduce(flat.take(places), dtype=np.float64))
        np.exp(logits, out=logits)
        np.add.reduce(logits, axis=1, keepdims=True, out=column)
        value: float = (float(np.add.reduce(np.log(column), axis=None, dtype=np.float64)) - chosen) / rows
        np.divide(share, column, out=column)
        np.multiply(logits, column, out=logits)
        flat[places] -= share
        return value

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        drawn = np.frombuffer(entropy(8 * rows), "<u8") % np.uint64(outputs)
        return drawn.astype(np.int64).reshape(rows, *target_shape)


class Binary:
    """softplus(z) - y·z; slope (sigmoid(z) - y) / (N·outputs)."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Two buffers like the logits."""
        size = (rows, outputs)
        return np.empty(size, np.float32), np.empty(size, np.float32), np.float32(1.0 / (rows * outputs))

    def replace_by_slope(self, logits: Floats, y: npt.NDArray[Any], buffers: tuple[Any, ...]) -> float:
        """See `Loss`."""
        targets, scratch, share = buffers
        np.copyto(targets, checked_targets(y, logits.shape[0], logits.shape[1:]), casting="unsafe")
        if float(targets.min()) < 0.0 or float(targets.max()) > 1.0:
            raise UsageError("binary labels are 0 and 1")
        # softplus(z) = max(z, 0) + log1p(exp(-|z|)) and sigmoid(z) = exp(min(z, 0)) / (1 + exp(-|z|)): no overflow.
        np.abs(logits, out=scratch)
        np.negative(scratch, out=scratch)
        np.exp(scratch, out=scratch)
        soft = float(np.add.reduce(np.log1p(scratch), axis=None, dtype=np.float64))
        hinge = float(np.add.reduce(np.maximum(logits, 0.0), axis=None, dtype=np.float64))
        value = (soft + hinge - float(np.add.reduce(targets * logits, axis=None, dtype=np.float64))) * float(share)
        np.add(scratch, 1.0, out=scratch)
        np.minimum(logits, 0.0, out=logits)
        np.exp(logits, out=logits)
        np.divide(logits, scratch, out=logits)
        np.subtract(logits, targets, out=logits)
        np.multiply(logits, share, out=logits)
        return value

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        drawn = np.frombuffer(entropy(rows * outputs), np.uint8) & 1
        return drawn.astype(np.float32).reshape(rows, *target_shape)


class Squared:
    """(z - y)²; slope 2 (z - y) / (N·outputs)."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """One buffer like the outputs, and the mean's factor."""
        return np.empty((rows, outputs), np.float32), 1.0 / (rows * outputs)

    def replace_by_slope(self, logits: Floats, y: npt.NDArray[Any], buffers: tuple[Any, ...]) -> float:
        """See `Loss`."""
        targets, share = buffers
        np.copyto(targets, checked_targets(y, logits.shape[0], logits.shape[1:]), casting="unsafe")
        np.subtract(logits, targets, out=logits)
        flat = logits.reshape(-1)
        value: float = float(np.dot(flat, flat)) * share
        np.multiply(logits, np.float32(2.0 * share), out=logits)
        return value

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        return uniform((rows, outputs), 1.5, entropy).reshape(rows, *target_shape)


LOSSES: dict[str, Loss] = {"softmax": Softmax(), "binary": Binary(), "mse": Squared()}
