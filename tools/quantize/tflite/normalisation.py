"""Translations of the normalisations; BatchNormalization with frozen statistics."""

from collections.abc import Sequence

import numpy as np
import onnx

from quantize.differentiate.tape import attribute
from quantize.tflite.reductions import reduced
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value


@translation("BatchNormalization")
def batch_normalization(to: Translator, node: onnx.NodeProto) -> Value:
    """(x - mean)·(scale / sqrt(var + eps)) + bias, per channel."""
    x, scale, bias = (to.value(name) for name in node.input[:3])
    mean, variance = (to.fixed(name, "the statistics") for name in node.input[3:5])
    column = (mean.shape[0], *[1] * (x.rank - 2))
    inverse = (1.0 / np.sqrt(variance + attribute(node, "epsilon", 1e-5))).astype(np.float32)
    factor = to.apply("MUL", to.reshape(scale, column), to.of(inverse.reshape(column)))
    centred = to.apply("SUB", x, to.of(mean.astype(np.float32).reshape(column)))
    return to.apply("ADD", to.apply("MUL", centred, factor), to.reshape(bias, column))


def _centred(to: Translator, x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
    """Return the means, x without them, and 1 / sqrt(variance + eps) over axes, which stay as ones."""
    means = reduced(to, "MEAN", x, axes, keep=True)
    centred = to.apply("SUB", x, means)
    variance = reduced(to, "MEAN", to.apply("MUL", centred, centred), axes, keep=True)
    root = to.apply("SQRT", to.apply("ADD", variance, to.of(np.float32(epsilon))))
    return means, centred, to.apply("DIV", to.of(np.float32(1.0)), root)


@translation("LayerNormalization")
def layer_normalization(to: Translator, node: onnx.NodeProto) -> Value:
    """(x - mean)·scale / sqrt(var + eps) + bias over the axes from one on; also the means and 1 / sqrt(var + eps)."""
    x, scale, *bias = (to.value(name) for name in node.input if name)
    axes = range(int(attribute(node, "axis", -1)) % x.rank, x.rank)
    means, centred, inverse = _centred(to, x, axes, float(attribute(node, "epsilon", 1e-5)))
    for name, value in zip(node.output[1:], (means, inverse), strict=False):
        if name:
            to.keep(name, value)
    found = to.apply("MUL", to.apply("MUL", centred, inverse), scale)
    return to.apply("ADD", found, bias[0]) if bias else found


@translation("InstanceNormalization")
def instance_normalization(to: Translator, node: onnx.NodeProto) -> Value:
    """(x - mean)·scale / sqrt(var + eps) + bias over the spatial axes of each row's channel."""
    x, scale, bias = (to.value(name) for name in node.input)
    column = (x.shape[1], *[1] * (x.rank - 2))
    _, centred, inverse = _centred(to, x, range(2, x.rank), float(attribute(node, "epsilon", 1e-5)))
    found = to.apply("MUL", to.apply("MUL", centred, inverse), to.reshape(scale, column))
    return to.apply("ADD", found, to.reshape(bias, column))


@translation("LpNormalization")
def lp_normalization(to: Translator, node: onnx.NodeProto) -> Value:
    """X over its norm along one axis."""
    x = to.value(node.input[0])
    axes = [int(attribute(node, "axis", -1))]
    if int(attribute(node, "p", 2)) == 1:
        norm = reduced(to, "SUM", to.apply("ABS", x), axes, keep=True)
    else:
        norm = to.apply("SQRT", reduced(to, "SUM", to.apply("MUL", x, x), axes, keep=True))
    return to.apply("DIV", x, norm)
