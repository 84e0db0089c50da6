"""Gradients of arithmetic: sums, products, powers, extremes and choices, element by element with broadcasting."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape


def _summed(tape: Tape, node: onnx.NodeProto, place: int, slope: str) -> str:
    return tape.as_summed(slope, tape.shape(node.output[0]), tape.shape(node.input[place]))


def _wanted(tape: Tape, node: onnx.NodeProto) -> list[int]:
    return [place for place, name in enumerate(node.input) if tape.wanted(name)]


@rule("Add")
def add(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A + B: dA = dY and dB = dY, each summed over broadcast axes."""
    return {place: _summed(tape, node, place, slope) for place in _wanted(tape, node)}


@rule("Sum")
def total(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A + B + ...: each gets dY, summed over broadcast axes."""
    return add(tape, node, slope)


@rule("Mean")
def mean(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = (A + B + ...)/n: each gets dY/n, summed over broadcast axes."""
    return add(tape, node, tape.add("Mul", slope, tape.number(1.0 / len(node.input))))


@rule("Sub")
def sub(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A - B: dA = dY and dB = -dY, each summed over broadcast axes."""
    found = {place: _summed(tape, node, place, slope) for place in _wanted(tape, node)}
    if 1 in found:
        found[1] = tape.add("Neg", found[1])
    return found


@rule("Mul")
def mul(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A·B: dA = dY·B and dB = dY·A, each summed over broadcast axes."""
    return {
        place: _summed(tape, node, place, tape.add("Mul", slope, node.input[1 - place]))
        for place in _wanted(tape, node)
    }


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


@rule("Neg")
def neg(tape: Tape, _node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = -X: dX = -dY."""
    return {0: tape.add("Neg", slope)}


@rule("Pow")
def power(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A^B: dA = dY·B·A^(B-1) and dB = dY·Y·log A, each summed over broadcast axes.

    B may hold integers where it is a constant. A trained B needs A > 0.
    """
    base, exponent = node.input
    constant = tape.constants.get(exponent)
    found = {}
    if tape.wanted(base):
        if constant is None:
            inner = tape.add("Pow", base, tape.add("Sub", exponent, tape.number(1.0)))
            factor = tape.add("Mul", exponent, inner)
        else:
            degree = np.asarray(constant, np.float32)
            inner = base if (degree == 2).all() else tape.add("Pow", base, tape.constant(degree - 1, np.float32))
            factor = tape.add("Mul", inner, tape.constant(degree, np.float32))
        found[0] = _summed(tape, node, 0, tape.add("Mul", slope, factor))
    if tape.wanted(exponent):
        if tape.kind(exponent) not in (TensorProto.FLOAT, TensorProto.UNDEFINED):
            raise UsageError(f"Pow {node.name!r} has an exponent that is computed in integers: cast it to float32")
        logs = tape.add("Mul", node.output[0], tape.add("Log", base))
        found[1] = _summed(tape, node, 1, tape.add("Mul", slope, logs))
    return found


@rule("Max")
def largest(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = max(A, B, ...): dY goes to the first input that has the value Y, summed over broadcast axes."""
    return _extreme(tape, node, slope)


@rule("Min")
def smallest(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = min(A, B, ...): dY goes to the first input that has the value Y, summed over broadcast axes."""
    return _extreme(tape, node, slope)


def _extreme(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    found: dict[int, str] = {}
    left = slope  # what the inputs before have not taken
    for place, name in enumerate(node.input):
        mine = left
        if place < len(node.input) - 1:
            hit = tape.add("Cast", tape.add("Equal", name, node.output[0]), to=TensorProto.FLOAT)
            mine = tape.add("Mul", left, hit)
            left = tape.add("Sub", left, mine)
        if tape.wanted(name):
            found[place] = _summed(tape, node, place, mine)
    return found


@rule("Where")
def where(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A where C, else B: dA = dY where C, dB = dY elsewhere, each summed over broadcast axes."""
    chosen = tape.add("Cast", node.input[0], to=TensorProto.FLOAT)
    first = tape.add("Mul", slope, chosen)
    found = {}
    if tape.wanted(node.input[1]):
        found[1] = _summed(tape, node, 1, first)
    if tape.wanted(node.input[2]):
        found[2] = _summed(tape, node, 2, tape.add("Sub", slope, first))
    return found


@rule("Cast")
def cast(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X as float32: dX = dY where X is float32 too; what comes from integers or booleans has no gradient."""
    kind = tape.kind(node.input[0])
    if kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
        name = TensorProto.DataType.Name(kind).lower()
        raise UsageError(f"Cast {node.name!r} takes {name}: export the model with float32 weights and activations")
    return {0: slope} if kind in (TensorProto.FLOAT, TensorProto.UNDEFINED) else {}
