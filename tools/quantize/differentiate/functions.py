"""Gradients of the functions of one number: exponential, logarithm, roots, the error function, sine and cosine."""

import math
from collections.abc import Mapping

import onnx

from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape


@rule("Exp")
def exp(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = exp X: dX = dY·Y."""
    return {0: tape.add("Mul", slope, node.output[0])}


@rule("Log")
def log(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = log X: dX = dY/X."""
    return {0: tape.add("Div", slope, node.input[0])}


@rule("Sqrt")
def sqrt(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = the root of X: dX = dY/(2·Y)."""
    return {0: tape.add("Div", tape.add("Mul", slope, tape.number(0.5)), node.output[0])}


@rule("Reciprocal")
def reciprocal(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = 1/X: dX = -dY·Y²."""
    square = tape.add("Mul", node.output[0], node.output[0])
    return {0: tape.add("Neg", tape.add("Mul", slope, square))}


@rule("Abs")
def absolute(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = |X|: dX = dY·sign X, which is 0 at 0."""
    return {0: tape.add("Mul", slope, tape.add("Sign", node.input[0]))}


@rule("Erf")
def erf(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = erf X: dX = dY·2/√π·exp(-X²)."""
    x = node.input[0]
    bell = tape.add("Exp", tape.add("Neg", tape.add("Mul", x, x)))
    return {0: tape.add("Mul", slope, tape.add("Mul", bell, tape.number(2.0 / math.sqrt(math.pi))))}


@rule("Sin")
def sin(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = sin X: dX = dY·cos X."""
    return {0: tape.add("Mul", slope, tape.add("Cos", node.input[0]))}


@rule("Cos")
def cos(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = cos X: dX = -dY·sin X."""
    return {0: tape.add("Neg", tape.add("Mul", slope, tape.add("Sin", node.input[0])))}
