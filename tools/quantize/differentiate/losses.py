"""The losses as nodes: a weighted mean over rows (and the mean over outputs), a metric, and the slope at the outputs.

The batch is whatever x brings: its size is that of the weights when the graph runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from onnx import TensorProto

from quantize.differentiate.tape import Tape


@dataclass(frozen=True, kw_only=True)
class LossNodes:
    """Names of what a loss computes: `loss` and `metric` are float32 scalars, `slope` is float32 (N, outputs)."""

    loss: str
    metric: str
    slope: str


Loss = Callable[[Tape, str, str, str, int], LossNodes]
"""(tape, outputs (N, count), y, weights (N,), count) -> what was added."""


def _shares(tape: Tape, weights: str) -> str:
    """Each row's part of a mean: w / sum of w, float32 (N, 1)."""
    column = tape.add("Unsqueeze", weights, tape.whole(1))
    return tape.add("Div", column, tape.add("ReduceSum", weights, keepdims=0))


def _mean(tape: Tape, cells: str, shares: str, count: int) -> str:
    """Weighted mean over the rows, and mean over the columns, of `cells` (N, count): a scalar."""
    rows = cells if count == 1 else tape.add("ReduceMean", cells, tape.whole(1), keepdims=1)
    return tape.add("ReduceSum", tape.add("Mul", rows, shares), keepdims=0)


def softmax(tape: Tape, outputs: str, y: str, weights: str, count: int) -> LossNodes:
    """L = -sum of s·log p[y] with p = softmax of z: dz = s·(p - onehot(y)); y int64 (N,).

    Metric: the share of rows whose first largest output is y.
    """
    shares = _shares(tape, weights)
    logs = tape.add("LogSoftmax", outputs, axis=-1)
    places = tape.add("Unsqueeze", y, tape.whole(1))
    chosen = tape.add("GatherElements", logs, places, axis=1)
    loss = tape.add("Neg", _mean(tape, chosen, shares, 1))
    hot = tape.add("OneHot", y, tape.constant(count, "int64"), tape.constant([0.0, 1.0], "float32"), axis=-1)
    gap = tape.add("Sub", tape.add("Exp", logs), hot)
    right = tape.add("Equal", tape.add("ArgMax", outputs, axis=1, keepdims=1), places)
    metric = _mean(tape, tape.add("Cast", right, to=TensorProto.FLOAT), shares, 1)
    return LossNodes(loss=loss, metric=metric, slope=tape.add("Mul", gap, shares))


def binary(tape: Tape, outputs: str, y: str, weights: str, count: int) -> LossNodes:
    """L = mean of softplus(z) - y·z: dz = s·(sigmoid(z) - y)/outputs; y float32 (N, outputs).

    Metric: the share of outputs with z > 0 where y > 1/2, and z <= 0 elsewhere.
    """
    shares = _shares(tape, weights)
    cells = tape.add("Sub", tape.add("Softplus", outputs), tape.add("Mul", outputs, y))
    gap = tape.add("Sub", tape.add("Sigmoid", outputs), y)
    said = tape.add("Cast", tape.add("Greater", outputs, tape.number(0.0)), to=TensorProto.INT32)
    true = tape.add("Cast", tape.add("Greater", y, tape.number(0.5)), to=TensorProto.INT32)
    right = tape.add("Cast", tape.add("Equal", said, true), to=TensorProto.FLOAT)
    return LossNodes(
        loss=_mean(tape, cells, shares, count),
        metric=_mean(tape, right, shares, count),
        slope=tape.add("Mul", gap, _per_output(tape, shares, 1.0, count)),
    )


def _per_output(tape: Tape, shares: str, factor: float, count: int) -> str:
    return shares if factor == count else tape.add("Mul", shares, tape.number(factor / count))


def mse(tape: Tape, outputs: str, y: str, weights: str, count: int) -> LossNodes:
    """L = mean of (z - y)²: dz = 2·s·(z - y)/outputs; y float32 (N, outputs). Metric: the mean of |z - y|."""
    shares = _shares(tape, weights)
    gap = tape.add("Sub", outputs, y)
    return LossNodes(
        loss=_mean(tape, tape.add("Mul", gap, gap), shares, count),
        metric=_mean(tape, tape.add("Abs", gap), shares, count),
        slope=tape.add("Mul", gap, _per_output(tape, shares, 2.0, count)),
    )


def huber(tape: Tape, outputs: str, y: str, weights: str, count: int) -> LossNodes:
    """L = mean of c·(d - c/2) with d = z - y and c = d clipped to ±1: dz = s·c/outputs; y float32 (N, outputs).

    That is d²/2 up to |d| = 1 and |d| - 1/2 beyond (Huber 1964, with k = 1). Metric: the mean of |d|.
    """
    shares = _shares(tape, weights)
    gap = tape.add("Sub", outputs, y)
    clipped = tape.add("Clip", gap, tape.number(-1.0), tape.number(1.0))
    rest = tape.add("Sub", gap, tape.add("Mul", clipped, tape.number(0.5)))
    return LossNodes(
        loss=_mean(tape, tape.add("Mul", clipped, rest), shares, count),
        metric=_mean(tape, tape.add("Abs", gap), shares, count),
        slope=tape.add("Mul", clipped, _per_output(tape, shares, 1.0, count)),
    )


LOSSES: dict[str, Loss] = {"softmax": softmax, "binary": binary, "mse": mse, "huber": huber}
