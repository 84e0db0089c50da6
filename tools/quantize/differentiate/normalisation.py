"""Gradient of BatchNormalization with frozen statistics, as it stands in an exported model."""

from collections.abc import Mapping

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


@rule("BatchNormalization")
def batch_normalization(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = scale·(X - mean)/sqrt(var + eps) + B with constant mean and var.

    dX = dY·scale/sqrt(var + eps); dscale = sum of dY·(X - mean)/sqrt(var + eps); dB = sum of dY.
    """
    x, scale, bias, mean, variance = node.input
    statistics = [tape.constants.get(name) for name in (mean, variance)]
    if int(attribute(node, "training_mode", 0)) or statistics[0] is None or statistics[1] is None:
        raise UsageError(f"BatchNormalization {node.name!r} is in training mode: export the model for inference")
    rank = len(tape.shape(x))
    column = (-1, *[1] * (rank - 2))
    inverse = tape.constant(
        (1.0 / np.sqrt(statistics[1] + attribute(node, "epsilon", 1e-5))).reshape(column), np.float32
    )
    axes = tape.whole(0, *range(2, rank))
    found = {}
    if tape.wanted(x):
        factor = tape.add("Mul", tape.add("Reshape", scale, tape.whole(*column)), inverse)
        found[0] = tape.add("Mul", slope, factor)
    if tape.wanted(scale):
        centred = tape.add("Sub", x, tape.constant(statistics[0].reshape(column), np.float32))
        found[1] = tape.add("ReduceSum", tape.add("Mul", slope, tape.add("Mul", centred, inverse)), axes, keepdims=0)
    if tape.wanted(bias):
        found[2] = tape.add("ReduceSum", slope, axes, keepdims=0)
    return found
