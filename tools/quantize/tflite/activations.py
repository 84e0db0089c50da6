"""Translations of activations that TFLite has no operator for, or not in every runtime."""

import math

import numpy as np
import onnx

from quantize.differentiate.tape import attribute
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value

_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_ERF_STEP = 0.3275911


def _number(to: Translator, value: float) -> Value:
    return to.of(np.float32(value))


def _bent(to: Translator, x: Value, *, inner: float, outer: float, high: float = 1.0) -> Value:
    """high·max(x, 0) + outer·(exp(inner·min(x, 0)) - 1)."""
    low = to.apply("MINIMUM", x, _number(to, 0.0))
    low = low if inner == 1.0 else to.apply("MUL", low, _number(to, inner))
    curve = to.apply("SUB", to.apply("EXP", low), _number(to, 1.0))
    top = to.apply("RELU", x)
    top = top if high == 1.0 else to.apply("MUL", top, _number(to, high))
    return to.apply("ADD", top, to.apply("MUL", curve, _number(to, outer)))


@translation("Elu")
def elu(to: Translator, node: onnx.NodeProto) -> Value:
    """max(x, 0) + a·(exp(min(x, 0)) - 1)."""
    return _bent(to, to.value(node.input[0]), inner=1.0, outer=float(attribute(node, "alpha", 1.0)))


@translation("Celu")
def celu(to: Translator, node: onnx.NodeProto) -> Value:
    """max(x, 0) + a·(exp(min(x, 0)/a) - 1)."""
    a = float(attribute(node, "alpha", 1.0))
    return _bent(to, to.value(node.input[0]), inner=1.0 / a, outer=a)


@translation("Selu")
def selu(to: Translator, node: onnx.NodeProto) -> Value:
    """g·max(x, 0) + g·a·(exp(min(x, 0)) - 1)."""
    a = float(attribute(node, "alpha", 1.67326319217681884765625))
    g = float(attribute(node, "gamma", 1.05070102214813232421875))
    return _bent(to, to.value(node.input[0]), inner=1.0, outer=g * a, high=g)


def _hard(to: Translator, x: Value, slope: float, shift: float) -> Value:
    line = to.apply("ADD", to.apply("MUL", x, _number(to, slope)), _number(to, shift))
    return to.apply("MINIMUM", to.apply("RELU", line), _number(to, 1.0))


@translation("HardSigmoid")
def hard_sigmoid(to: Translator, node: onnx.NodeProto) -> Value:
    """min(max(a·x + b, 0), 1)."""
    a, b = float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))
    return _hard(to, to.value(node.input[0]), a, b)


@translation("HardSwish")
def hard_swish(to: Translator, node: onnx.NodeProto) -> Value:
    """x·min(max(x/6 + 1/2, 0), 1)."""
    x = to.value(node.input[0])
    return to.apply("MUL", x, _hard(to, x, 1 / 6, 0.5))


@translation("Softsign")
def softsign(to: Translator, node: onnx.NodeProto) -> Value:
    """X / (1 + |x|)."""
    x = to.value(node.input[0])
    return to.apply("DIV", x, to.apply("ADD", to.apply("ABS", x), _number(to, 1.0)))


@translation("Softplus")
def softplus(to: Translator, node: onnx.NodeProto) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    return _softplus(to, to.value(node.input[0]))


def _softplus(to: Translator, x: Value) -> Value:
    small = to.apply("EXP", to.apply("NEG", to.apply("ABS", x)))
    return to.apply("ADD", to.apply("RELU", x), to.apply("LOG", to.apply("ADD", small, _number(to, 1.0))))


@translation("Mish")
def mish(to: Translator, node: onnx.NodeProto) -> Value:
    """x·tanh(softplus(x))."""
    x = to.value(node.input[0])
    return to.apply("MUL", x, to.apply("TANH", _softplus(to, x)))


@translation("Erf")
def erf(to: Translator, node: onnx.NodeProto) -> Value:
    """sign(x)·(1 - p(t)·exp(-x²)) with t = 1/(1 + c|x|), within 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    return _erf(to, to.value(node.input[0]))


def _erf(to: Translator, x: Value) -> Value:
    size = to.apply("ABS", x)
    one = _number(to, 1.0)
    t = to.apply("DIV", one, to.apply("ADD", to.apply("MUL", size, _number(to, _ERF_STEP)), one))
    total = _number(to, _ERF[0])
    for factor in (*_ERF[1:], 0.0):
        total = to.apply("MUL", total, t)
        total = total if factor == 0.0 else to.apply("ADD", total, _number(to, factor))
    tail = to.apply("MUL", total, to.apply("EXP", to.apply("NEG", to.apply("MUL", x, x))))
    # The sign as x / (|x| + tiny): exact for every x that is not tiny itself, where erf(x) is as small.
    sign = to.apply("DIV", x, to.apply("ADD", size, _number(to, 1e-30)))
    return to.apply("MUL", sign, to.apply("SUB", one, tail))


@translation("Gelu")
def gelu(to: Translator, node: onnx.NodeProto) -> Value:
    """x/2·(1 + erf(x/√2)), or x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    x = to.value(node.input[0])
    if bytes(attribute(node, "approximate", b"none")) == b"tanh":
        cube = to.apply("MUL", to.apply("MUL", x, x), to.apply("MUL", x, _number(to, 0.044715)))
        inner = to.apply("MUL", to.apply("ADD", x, cube), _number(to, math.sqrt(2 / math.pi)))
        curve = to.apply("TANH", inner)
    else:
        curve = _erf(to, to.apply("MUL", x, _number(to, math.sqrt(0.5))))
    half = to.apply("MUL", x, _number(to, 0.5))
    return to.apply("MUL", half, to.apply("ADD", curve, _number(to, 1.0)))
