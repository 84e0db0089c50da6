"""The four losses in NumPy: a weighted mean over rows (and the mean over outputs), its slope, and a metric for people.

`softmax` takes class indices, `binary` zeros and ones, `mse` and `huber` numbers. Stable for any finite output.
"""

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes.initial import uniform

Floats = npt.NDArray[np.float32]

_HEAVIEST = 2.0**127
"""A sum of weights beyond it would be infinite in the float32 of a graph."""


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


def checked_weights(weights: npt.NDArray[Any], rows: int) -> Floats:
    """Return `weights` as float32 (rows,): what each row counts in the means.

    Raises:
        UsageError: another shape, a negative or infinite weight, or none above zero.
    """
    if weights.shape != (rows,) or weights.dtype.kind not in "biuf":
        raise UsageError(f"weights of shape {weights.shape}, {weights.dtype}, where {rows} numbers are expected")
    found = np.ascontiguousarray(weights, np.float32)
    total = float(np.add.reduce(found, dtype=np.float64))
    if not (np.isfinite(found).all() and float(found.min()) >= 0.0 and 0.0 < total < _HEAVIEST):
        raise UsageError("the weights of a batch are numbers from 0, at least one of them above 0")
    return found


class Loss(Protocol):
    """One loss; `prepared` once for each number of rows."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Return the buffers for `rows` rows."""
        ...

    def replace_by_slope(
        self, logits: Floats, y: npt.NDArray[Any], share: Floats, buffers: tuple[Any, ...]
    ) -> tuple[float, float]:
        """Return the mean loss and the metric; `logits` (N, outputs) becomes the gradient of the loss.

        Args:
            logits: float32 (N, outputs), overwritten.
            y: targets.
            share: float32 (N, 1): each row's part of the mean; they sum to 1.
            buffers: what `prepared` returned for N rows.
        """
        ...

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """Return random targets (rows, *target_shape) for golden vectors."""
        ...


def _mean(cells: npt.NDArray[Any], share: Floats) -> float:
    """Return the mean over outputs and the weighted mean over rows of `cells` (N, outputs)."""
    mean: float = float(np.add.reduce(np.dot(share[:, 0], cells))) / cells.shape[1]
    return mean


class Softmax:
    """-log softmax(z)[y]; slope (softmax(z) - onehot(y)) · share; metric: the fraction of rows with z largest at y."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Column buffers, where each row starts in the flat logits, and the flat places of the labels."""
        column = np.empty((rows, 1), np.float32)
        starts = np.arange(0, rows * outputs, outputs, dtype=np.int64)
        return column, starts, np.empty(rows, np.int64)

    def replace_by_slope(
        self, logits: Floats, y: npt.NDArray[Any], share: Floats, buffers: tuple[Any, ...]
    ) -> tuple[float, float]:
        """See `Loss`."""
        column, starts, places = buffers
        rows, outputs = logits.shape
        if y.dtype.kind not in "iu":
            raise UsageError(f"softmax labels are integers, not {y.dtype}")
        labels = checked_targets(y, rows, ())
        if int(labels.min()) < 0 or int(labels.max()) >= outputs:
            raise UsageError(f"a label lies outside the classes 0 to {outputs - 1}")
        np.add(starts, labels, out=places)
        flat, parts = logits.reshape(-1), share[:, 0]
        right = float(np.dot(logits.argmax(axis=1) == labels, parts))
        np.maximum.reduce(logits, axis=1, keepdims=True, out=column)
        np.subtract(logits, column, out=logits)
        chosen = flat.take(places)
        np.exp(logits, out=logits)
        np.add.reduce(logits, axis=1, keepdims=True, out=column)
        each = np.log(column[:, 0]) - chosen
        value = float(np.dot(each.astype(np.float64), parts))
        np.divide(share, column, out=column)
        np.multiply(logits, column, out=logits)
        flat[places] -= parts
        return value, right

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        drawn = np.frombuffer(entropy(8 * rows), "<u8") % np.uint64(outputs)
        return drawn.astype(np.int64).reshape(rows, *target_shape)


class Binary:
    """softplus(z) - y·z; slope (sigmoid(z) - y) · share/outputs; metric: the fraction with z > 0 where y > 1/2."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """Two buffers like the logits."""
        size = (rows, outputs)
        return np.empty(size, np.float32), np.empty(size, np.float32)

    def replace_by_slope(
        self, logits: Floats, y: npt.NDArray[Any], share: Floats, buffers: tuple[Any, ...]
    ) -> tuple[float, float]:
        """See `Loss`."""
        targets, scratch = buffers
        np.copyto(targets, checked_targets(y, *_rows_and_outputs(logits)), casting="unsafe")
        if not (float(targets.min()) >= 0.0 and float(targets.max()) <= 1.0):
            raise UsageError("binary labels are 0 and 1")
        right = _mean((logits > 0.0) == (targets > 0.5), share)
        # softplus(z) = max(z, 0) + log1p(exp(-|z|)) and sigmoid(z) = exp(min(z, 0)) / (1 + exp(-|z|)): no overflow.
        np.abs(logits, out=scratch)
        np.negative(scratch, out=scratch)
        np.exp(scratch, out=scratch)
        value = _mean(np.log1p(scratch) + np.maximum(logits, 0.0) - targets * logits, share)
        np.add(scratch, 1.0, out=scratch)
        np.minimum(logits, 0.0, out=logits)
        np.exp(logits, out=logits)
        np.divide(logits, scratch, out=logits)
        np.subtract(logits, targets, out=logits)
        np.multiply(logits, share / np.float32(logits.shape[1]), out=logits)
        return value, right

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        drawn = np.frombuffer(entropy(rows * outputs), np.uint8) & 1
        return drawn.astype(np.float32).reshape(rows, *target_shape)


def _rows_and_outputs(logits: Floats) -> tuple[int, tuple[int, ...]]:
    return logits.shape[0], logits.shape[1:]


class Squared:
    """(z - y)²; slope 2·(z - y) · share/outputs; metric: the mean of |z - y|."""

    def prepared(self, rows: int, outputs: int) -> tuple[Any, ...]:
        """One buffer like the outputs."""
        return (np.empty((rows, outputs), np.float32),)

    def replace_by_slope(
        self, logits: Floats, y: npt.NDArray[Any], share: Floats, buffers: tuple[Any, ...]
    ) -> tuple[float, float]:
        """See `Loss`."""
        (targets,) = buffers
        np.copyto(targets, checked_targets(y, *_rows_and_outputs(logits)), casting="unsafe")
        np.subtract(logits, targets, out=logits)
        absolute = _mean(np.abs(logits), share)
        value = _mean(np.square(logits), share)
        np.multiply(logits, share * np.float32(2.0 / logits.shape[1]), out=logits)
        return value, absolute

    def draw(self, rows: int, target_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> npt.NDArray[Any]:
        """See `Loss`."""
        return uniform((rows, outputs), 1.5, entropy).reshape(rows, *target_shape)


class Huber(Squared):
    """c·(d - c/2) with d = z - y and c = d clipped to ±1; slope c · share/outputs; metric: the mean of |d|.

    That is d²/2 up to |d| = 1 and |d| - 1/2 beyond (Huber 1964, with k = 1).
    """

    def replace_by_slope(
        self, logits: Floats, y: npt.NDArray[Any], share: Floats, buffers: tuple[Any, ...]
    ) -> tuple[float, float]:
        """See `Loss`."""
        (targets,) = buffers
        np.copyto(targets, checked_targets(y, *_rows_and_outputs(logits)), casting="unsafe")
        np.subtract(logits, targets, out=logits)
        absolute = _mean(np.abs(logits), share)
        clipped = np.clip(logits, -1.0, 1.0, out=targets)
        value = _mean(clipped * (logits - np.float32(0.5) * clipped), share)
        np.multiply(clipped, share / np.float32(logits.shape[1]), out=logits)
        return value, absolute


LOSSES: dict[str, Loss] = {"softmax": Softmax(), "binary": Binary(), "mse": Squared(), "huber": Huber()}
