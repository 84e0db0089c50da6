"""Translations of QuantizeLinear and DequantizeLinear: whole numbers of a grid stay floats, so gradients can pass."""

import numpy as np
import onnx

from quantize.differentiate.tape import attribute
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value


def _beside(to: Translator, x: Value, value: Value, node: onnx.NodeProto) -> Value:
    """Return a scale or a zero point of one number, or of one for each channel, so that it broadcasts against x."""
    if value.rank == 0 or value.shape == (1,):
        return to.reshape(value, ())
    axis = int(attribute(node, "axis", 1)) % x.rank
    return to.reshape(value, tuple(x.shape[axis] if place == axis else 1 for place in range(x.rank)))


def _zero(to: Translator, node: onnx.NodeProto) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    if len(node.input) < 3 or not node.input[2]:
        return None
    return to.fixed(node.input[2], "the zero point").astype(np.int64)


@translation("QuantizeLinear", reads=(0, 1))
def quantize(to: Translator, node: onnx.NodeProto) -> Value:
    """clip(round(x / s) + z, low, high), ties to even as in ONNX."""
    x = to.value(node.input[0])
    zero = _zero(to, node)
    info = np.iinfo(np.uint8 if zero is None else to.fixed(node.input[2], "the zero point").dtype)
    steps = to.apply("ROUND", to.apply("DIV", x, _beside(to, x, to.value(node.input[1]), node)))
    if zero is not None and zero.any():
        steps = to.apply("ADD", steps, _beside(to, x, to.of(zero.astype(np.float32)), node))
    low, high = (to.of(np.float32(bound)) for bound in (info.min, info.max))
    return to.apply("MINIMUM", to.apply("MAXIMUM", steps, low), high)


@translation("DequantizeLinear", reads=(0, 1))
def dequantize(to: Translator, node: onnx.NodeProto) -> Value:
    """(q - z)·s."""
    known = to.known(node.input[0])
    steps = to.value(node.input[0]) if known is None else to.of(known.astype(np.float32))
    zero = _zero(to, node)
    if zero is not None and zero.any():
        steps = to.apply("SUB", steps, _beside(to, steps, to.of(zero.astype(np.float32)), node))
    return to.apply("MUL", steps, _beside(to, steps, to.value(node.input[1]), node))
