"""Gradients of activations: what stands between layers, and the softmaxes."""

import math
from collections.abc import Mapping

import onnx
from onnx import TensorProto

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute

_SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Alpha and gamma of ONNX's Selu."""


def _mask(tape: Tape, operator: str, name: str, bound: str) -> str:
    # Mul by a cast comparison: onnxruntime's Where is seven times slower, Sign twice.
    return tape.add("Cast", tape.add(operator, name, bound), to=TensorProto.FLOAT)


def where_positive(tape: Tape, name: str, slope: str) -> str:
    """Return `slope` where the tensor `name` is above 0, else 0."""
    return tape.add("Mul", slope, _mask(tape, "Greater", name, tape.number(0.0)))


@rule("Relu")
def relu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = max(X, 0): dX = dY where Y > 0, else 0. The slope of a pool behind it may be so already."""
    if node.output[0] in tape.cut_off:
        return {0: slope}
    return {0: where_positive(tape, node.output[0], slope)}


@rule("LeakyRelu")
def leaky_relu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X where X > 0, else a·X: dX = a·dY + (1 - a)·(dY where X > 0)."""
    a = float(attribute(node, "alpha", 0.01))
    positive = tape.add("Mul", where_positive(tape, node.input[0], slope), tape.number(1.0 - a))
    return {0: tape.add("Add", positive, tape.add("Mul", slope, tape.number(a)))}


@rule("PRelu")
def prelu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X where X >= 0, else S·X: with dN = dY where X < 0, dX = dY - dN + dN·S and dS = dN·X.

    dS is summed over the axes along which S was broadcast.
    """
    x, factor = node.input
    negative = tape.add("Mul", slope, _mask(tape, "Less", x, tape.number(0.0)))
    found = {}
    if tape.wanted(x):
        found[0] = tape.add("Add", tape.add("Sub", slope, negative), tape.add("Mul", negative, factor))
    if tape.wanted(factor):
        found[1] = tape.as_summed(tape.add("Mul", negative, x), tape.shape(node.output[0]), tape.shape(factor))
    return found


@rule("Sigmoid")
def sigmoid(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = 1/(1 + exp(-X)): dX = dY·Y·(1 - Y)."""
    rest = tape.add("Sub", tape.number(1.0), node.output[0])
    return {0: tape.add("Mul", slope, tape.add("Mul", node.output[0], rest))}


@rule("HardSigmoid")
def hard_sigmoid(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = min(max(a·X + b, 0), 1): dX = a·dY where 0 < Y < 1, else 0."""
    inside = _within(tape, node.output[0], tape.number(0.0), tape.number(1.0), slope)
    return {0: tape.add("Mul", inside, tape.number(float(attribute(node, "alpha", 0.2))))}


@rule("HardSwish")
def hard_swish(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X·h with h = min(max(X/6 + 1/2, 0), 1): dX = dY·(h + X/6 where |X| < 3)."""
    x = node.input[0]
    hard = tape.add("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)
    inside = _mask(tape, "Less", tape.add("Abs", x), tape.number(3.0))
    ramp = tape.add("Mul", tape.add("Mul", x, tape.number(1.0 / 6.0)), inside)
    return {0: tape.add("Mul", slope, tape.add("Add", hard, ramp))}


@rule("Tanh")
def tanh(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = tanh X: dX = dY·(1 - Y²)."""
    square = tape.add("Mul", node.output[0], node.output[0])
    return {0: tape.add("Mul", slope, tape.add("Sub", tape.number(1.0), square))}


@rule("Gelu")
def gelu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X·F(X) with F the normal distribution: dX = dY·(F + X·F').

    F = (1 + erf(X/√2))/2, so F' = exp(-X²/2)/√(2π); or, with approximate="tanh", F = (1 + t)/2 where t = tanh u and
    u = √(2/π)·(X + c·X³) with c = 0.044715, so F' = (1 - t²)·√(2/π)·(1 + 3·c·X²)/2 (Hendrycks and Gimpel 2016).
    """
    x = node.input[0]
    square, one, half = tape.add("Mul", x, x), tape.number(1.0), tape.number(0.5)
    if bytes(attribute(node, "approximate", b"none")) == b"tanh":
        scale, cubic = math.sqrt(2.0 / math.pi), 0.044715
        inner = tape.add("Add", tape.add("Mul", square, tape.number(scale * cubic)), tape.number(scale))
        t = tape.add("Tanh", tape.add("Mul", x, inner))
        steep = tape.add("Add", tape.add("Mul", square, tape.number(1.5 * scale * cubic)), tape.number(0.5 * scale))
        density = tape.add("Mul", tape.add("Sub", one, tape.add("Mul", t, t)), steep)
    else:
        t = tape.add("Erf", tape.add("Mul", x, tape.number(math.sqrt(0.5))))
        bell = tape.add("Exp", tape.add("Mul", square, tape.number(-0.5)))
        density = tape.add("Mul", bell, tape.number(1.0 / math.sqrt(2.0 * math.pi)))
    below = tape.add("Mul", tape.add("Add", t, one), half)
    return {0: tape.add("Mul", slope, tape.add("Add", below, tape.add("Mul", x, density)))}


@rule("Elu")
def elu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X where X > 0, else a·(exp X - 1): dX = dY·(1 where X > 0, else Y + a)."""
    return _exponential(tape, node, slope, 1.0, 1.0, float(attribute(node, "alpha", 1.0)))


@rule("Selu")
def selu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = c·X where X > 0, else c·a·(exp X - 1): dX = dY·(c where X > 0, else Y + c·a)."""
    a = float(attribute(node, "alpha", _SELU[0]))
    c = float(attribute(node, "gamma", _SELU[1]))
    return _exponential(tape, node, slope, c, 1.0, c * a)


@rule("Celu")
def celu(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X where X > 0, else a·(exp(X/a) - 1): dX = dY·(1 where X > 0, else Y/a + 1)."""
    return _exponential(tape, node, slope, 1.0, 1.0 / float(attribute(node, "alpha", 1.0)), 1.0)


def _exponential(  # noqa: PLR0917 - three numbers of one formula
    tape: Tape, node: onnx.NodeProto, slope: str, above: float, factor: float, offset: float
) -> Mapping[int, str]:
    """DX = dY·(above where X > 0, else factor·Y + offset)."""
    positive = _mask(tape, "Greater", node.input[0], tape.number(0.0))
    y = node.output[0] if factor == 1.0 else tape.add("Mul", node.output[0], tape.number(factor))
    below = tape.add("Add", y, tape.number(offset))
    other = tape.add("Mul", below, tape.add("Sub", tape.number(1.0), positive))
    first = positive if above == 1.0 else tape.add("Mul", positive, tape.number(above))
    return {0: tape.add("Mul", slope, tape.add("Add", first, other))}


@rule("Softplus")
def softplus(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = log(1 + exp X): dX = dY/(1 + exp(-X))."""
    return {0: tape.add("Mul", slope, tape.add("Sigmoid", node.input[0]))}


@rule("Softsign")
def softsign(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X/(1 + |X|): dX = dY·(1 - |Y|)²."""
    rest = tape.add("Sub", tape.number(1.0), tape.add("Abs", node.output[0]))
    return {0: tape.add("Mul", slope, tape.add("Mul", rest, rest))}


@rule("Mish")
def mish(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X·t with t = tanh(log(1 + exp X)): dX = dY·(t + X·(1 - t²)/(1 + exp(-X)))."""
    x = node.input[0]
    t = tape.add("Tanh", tape.add("Softplus", x))
    rest = tape.add("Sub", tape.number(1.0), tape.add("Mul", t, t))
    bent = tape.add("Mul", tape.add("Mul", x, tape.add("Sigmoid", x)), rest)
    return {0: tape.add("Mul", slope, tape.add("Add", t, bent))}


@rule("Clip")
def clip(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = min(max(X, low), high): dX = dY where low < X < high, else 0; the bounds are constants."""
    low, high = [*node.input[1:3], "", ""][:2]
    if any(tape.wanted(name) for name in (low, high) if name):
        raise UsageError(f"Clip {node.name!r} has trainable bounds: make them constants")
    return {0: _within(tape, node.input[0], low, high, slope)}


def _within(tape: Tape, name: str, low: str, high: str, slope: str) -> str:
    """Return `slope` where low < X < high, else 0; an empty bound is none."""
    if low and high:  # truths are a quarter as long as numbers: one mask of both is quicker than two
        inside = tape.add("And", tape.add("Greater", name, low), tape.add("Less", name, high))
        return tape.add("Mul", slope, tape.add("Cast", inside, to=TensorProto.FLOAT))
    for operator, bound in (("Greater", low), ("Less", high)):
        if bound:
            slope = tape.add("Mul", slope, _mask(tape, operator, name, bound))
    return slope


@rule("Softmax")
def softmax(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = exp X / sum of exp X along one axis: dX = Y·(dY - sum(dY·Y))."""
    y, axis = node.output[0], int(attribute(node, "axis", -1))
    total = tape.add("ReduceSum", tape.add("Mul", slope, y), tape.whole(axis), keepdims=1)
    return {0: tape.add("Mul", y, tape.add("Sub", slope, total))}


@rule("LogSoftmax")
def log_softmax(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X - log of the sum of exp X along one axis: dX = dY - exp Y·sum(dY)."""
    total = tape.add("ReduceSum", slope, tape.whole(int(attribute(node, "axis", -1))), keepdims=1)
    return {0: tape.add("Sub", slope, tape.add("Mul", tape.add("Exp", node.output[0]), total))}
