"""Gradients of normalisations: over a batch's frozen statistics, a layer, an instance, or a vector's length."""

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


@rule("LayerNormalization")
def layer_normalization(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = scale·Z + B with Z = (X - mean)·r and r = 1/sqrt(var + eps), over the axes from `axis` on.

    With g = dY·scale, dX = r·(g - mean(g) - Z·mean(g·Z)); dscale = sum of dY·Z and dB = sum of dY over the axes along
    which they were broadcast (Ba, Kiros and Hinton 2016).
    """
    x, scale = node.input[0], node.input[1]
    rank = len(tape.shape(x))
    axes = tuple(range(int(attribute(node, "axis", -1)) % rank, rank))
    z, inverse = _normalised(tape, x, axes, float(attribute(node, "epsilon", 1e-5)))
    found = {}
    if tape.wanted(x):
        found[0] = _through(tape, tape.add("Mul", slope, scale), z, inverse, axes)
    if tape.wanted(scale):
        found[1] = tape.as_summed(tape.add("Mul", slope, z), tape.shape(x), tape.shape(scale))
    if len(node.input) > 2 and node.input[2] and tape.wanted(node.input[2]):
        found[2] = tape.as_summed(slope, tape.shape(x), tape.shape(node.input[2]))
    return found


@rule("InstanceNormalization")
def instance_normalization(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = scale[c]·Z + B[c] with Z = (X - mean)·r over the spatial axes of each row and channel.

    With g = dY·scale, dX = r·(g - mean(g) - Z·mean(g·Z)); dscale = sum of dY·Z and dB = sum of dY over all other axes.
    """
    x, scale, bias = node.input
    rank = len(tape.shape(x))
    axes = tuple(range(2, rank))
    z, inverse = _normalised(tape, x, axes, float(attribute(node, "epsilon", 1e-5)))
    found = {}
    if tape.wanted(x):
        column = tape.add("Reshape", scale, tape.whole(-1, *[1] * (rank - 2)))
        found[0] = _through(tape, tape.add("Mul", slope, column), z, inverse, axes)
    others = tape.whole(0, *axes)
    if tape.wanted(scale):
        found[1] = tape.add("ReduceSum", tape.add("Mul", slope, z), others, keepdims=0)
    if tape.wanted(bias):
        found[2] = tape.add("ReduceSum", slope, others, keepdims=0)
    return found


def _normalised(tape: Tape, x: str, axes: tuple[int, ...], epsilon: float) -> tuple[str, str]:
    """Return Z = (X - mean)·r, and r = 1/sqrt(var + eps) with the axes kept."""
    over = tape.whole(*axes)
    centred = tape.add("Sub", x, tape.add("ReduceMean", x, over, keepdims=1))
    variance = tape.add("ReduceMean", tape.add("Mul", centred, centred), over, keepdims=1)
    inverse = tape.add("Reciprocal", tape.add("Sqrt", tape.add("Add", variance, tape.number(epsilon))))
    return tape.add("Mul", centred, inverse), inverse


def _through(tape: Tape, g: str, z: str, inverse: str, axes: tuple[int, ...]) -> str:
    """Return r·(g - mean(g) - Z·mean(g·Z))."""
    over = tape.whole(*axes)
    level = tape.add("ReduceMean", g, over, keepdims=1)
    along = tape.add("Mul", z, tape.add("ReduceMean", tape.add("Mul", g, z), over, keepdims=1))
    return tape.add("Mul", inverse, tape.add("Sub", tape.add("Sub", g, level), along))


@rule("LpNormalization")
def lp_normalization(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X/L with L the length of X along one axis, p = 2: dX = (dY - Y·sum(dY·Y))/L.

    For p = 1, L = sum of |X| and dX = (dY - sign(X)·sum(dY·Y))/L.
    """
    x, y = node.input[0], node.output[0]
    axis, p = tape.whole(int(attribute(node, "axis", -1))), int(attribute(node, "p", 2))
    length = tape.add("ReduceL1" if p == 1 else "ReduceL2", x, axis, keepdims=1)
    total = tape.add("ReduceSum", tape.add("Mul", slope, y), axis, keepdims=1)
    direction = tape.add("Sign", x) if p == 1 else y
    return {0: tape.add("Div", tape.add("Sub", slope, tape.add("Mul", direction, total)), length)}
