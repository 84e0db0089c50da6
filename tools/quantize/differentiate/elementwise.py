"""Gradients of operators that work element by element: sums, products and activations."""

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


def _summed(tape: Tape, node: onnx.NodeProto, place: int, slope: str) -> str:
    return tape.as_summed(slope, tape.shape(node.output[0]), tape.shape(node.input[place]))


@rule("Add")
def add(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A + B: dA = dY and dB = dY, each summed over broadcast axes."""
    return {place: _summed(tape, node, place, slope) for place in (0, 1) if tape.wanted(node.input[place])}


@rule("Sub")
def sub(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A - B: dA = dY and dB = -dY, each summed over broadcast axes."""
    found = {}
    if tape.wanted(node.input[0]):
        found[0] = _summed(tape, node, 0, slope)
    if tape.wanted(node.input[1]):
        found[1] = tape.add("Neg", _summed(tape, node, 1, slope))
    return found


@rule("Mul")
def mul(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A·B: dA = dY·B and dB = dY·A, each summed over broadcast axes."""
    found = {}
    for place in (0, 1):
        if tape.wanted(node.input[place]):
            found[place] = _summed(tape, node, place, tape.add("Mul", slope, node.input[1 - place]))
    return found


@rule("Div")
def div(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A/B: dA = dY/B and dB = -dY·Y/B, each summed over broadcast axes."""
    found = {}
    over = tape.add("Div", slope, node.input[1])
    if tape.wanted(node.input[0]):
        found[0] = _summed(tape, node, 0, over)
    if tape.wanted(node.input[1]):
        found[1] = tape.add("Neg", _summed(tape, node, 1, tape.add("Mul", over, node.output[0])))
    return found


def _where_positive(tape: Tape, name: str, slope: str) -> str:
    # Mul by a cast comparison: onnxruntime's Where is seven times slower, Sign twice.
    positive = tape.add("Greater", name, tape.number(0.0))
    return tape.add("Mul", slope, tape.add("Cast", positive, to=TensorProto.FLOAT))


@rule("Relu")
def relu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = max(X, 0): dX = dY where Y > 0, else 0."""
    return {0: _where_positive(tape, node.output[0], slope)}


@rule("LeakyRelu")
def leaky_relu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X where X > 0, else a·X: dX = a·dY + (1 - a)·(dY where X > 0)."""
    a = float(attribute(node, "alpha", 0.01))
    positive = tape.add("Mul", _where_positive(tape, node.input[0], slope), tape.number(1.0 - a))
    return {0: tape.add("Add", positive, tape.add("Mul", slope, tape.number(a)))}


@rule("Sigmoid")
def sigmoid(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = 1/(1 + exp(-X)): dX = dY·Y·(1 - Y)."""
    rest = tape.add("Sub", tape.number(1.0), node.output[0])
    return {0: tape.add("Mul", slope, tape.add("Mul", node.output[0], rest))}


@rule("Tanh")
def tanh(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = tanh X: dX = dY·(1 - Y²)."""
    square = tape.add("Mul", node.output[0], node.output[0])
    return {0: tape.add("Mul", slope, tape.add("Sub", tape.number(1.0), square))}


@rule("Clip")
def clip(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = min(max(X, low), high): dX = dY where low < X < high, else 0; the bounds are constants."""
    bounds = list(node.input[1:3])
    if any(tape.wanted(name) for name in bounds if name):
        raise UsageError(f"Clip {node.name!r} has trainable bounds: make them constants")
    for operator, name in zip(("Greater", "Less"), bounds, strict=False):
        if name:
            inside = tape.add(operator, node.input[0], name)
            slope = tape.add("Mul", slope, tape.add("Cast", inside, to=TensorProto.FLOAT))
    return {0: slope}


@rule("Softmax")
def softmax(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = exp X / sum of exp X along one axis: dX = Y·(dY - sum(dY·Y))."""
    y, axis = node.output[0], int(attribute(node, "axis", -1))
    total = tape.add("ReduceSum", tape.add("Mul", slope, y), tape.whole(axis), keepdims=1)
    return {0: tape.add("Mul", y, tape.add("Sub", slope, total))}
