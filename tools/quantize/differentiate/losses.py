"""The losses as nodes: mean over rows (and outputs), and the slope at the model's outputs.

The batch is whatever x brings, so its size is taken from the shape when the graph runs.
"""

from collections.abc import Callable

from onnx import TensorProto

from quantize.differentiate.tape import Tape

LossNodes = Callable[[Tape, str, str, int], tuple[str, str]]
"""(tape, outputs, y, number of outputs) -> (loss, slope at the outputs)."""


def _share(tape: Tape, name: str) -> str:
    """1 / (number of elements of `name`)."""
    return tape.add("Reciprocal", tape.add("Cast", tape.add("Size", name), to=TensorProto.FLOAT))


def softmax(tape: Tape, outputs: str, y: str, count: int) -> tuple[str, str]:
    """L = -mean of log p[y] with p = softmax of z: dz = (p - onehot(y)) / N; y int64 (N,)."""
    logs = tape.add("LogSoftmax", outputs, axis=-1)
    places = tape.add("Unsqueeze", y, tape.whole(1))
    chosen = tape.add("GatherElements", logs, places, axis=1)
    loss = tape.add("Neg", tape.add("ReduceMean", chosen, keepdims=0))
    hot = tape.add("OneHot", y, tape.constant(count, "int64"), tape.constant([0.0, 1.0], "float32"), axis=-1)
    gap = tape.add("Sub", tape.add("Exp", logs), hot)
    return loss, tape.add("Mul", gap, _share(tape, y))


def binary(tape: Tape, outputs: str, y: str, _count: int) -> tuple[str, str]:
    """L = mean(softplus(z) - y·z): dz = (sigmoid(z) - y) / (N·outputs); y float32 (N, outputs)."""
    rows = tape.add("Sub", tape.add("Softplus", outputs), tape.add("Mul", outputs, y))
    gap = tape.add("Sub", tape.add("Sigmoid", outputs), y)
    return tape.add("ReduceMean", rows, keepdims=0), tape.add("Mul", gap, _share(tape, y))


def mse(tape: Tape, outputs: str, y: str, _count: int) -> tuple[str, str]:
    """L = mean (z - y)²: dz = 2·(z - y) / (N·outputs); y float32 (N, outputs)."""
    gap = tape.add("Sub", outputs, y)
    loss = tape.add("ReduceMean", tape.add("Mul", gap, gap), keepdims=0)
    return loss, tape.add("Mul", tape.add("Mul", gap, tape.number(2.0)), _share(tape, y))


LOSSES: dict[str, LossNodes] = {"softmax": softmax, "binary": binary, "mse": mse}
