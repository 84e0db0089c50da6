"""Translation of BatchNormalization with frozen statistics."""

import numpy as np
import onnx

from quantize.differentiate.tape import attribute
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
