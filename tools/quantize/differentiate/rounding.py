"""Straight-through gradients of QuantizeLinear and DequantizeLinear (Bengio, Léonard and Courville 2013, section 4)."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape

_HIGHEST = {np.dtype(np.int8): 127, np.dtype(np.uint8): 255, np.dtype(np.int16): 32_767, np.dtype(np.uint16): 65_535}


@rule("DequantizeLinear")
def dequantize(_tape: Tape, _node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = s·(Q - z): the slope at Q is counted in units of Y, so that of X in Q = round(X/s) + z is dY itself."""
    return {0: slope}


@rule("QuantizeLinear")
def quantize(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Q = clip(round(X/s) + z, low, high): dX = dY where s·(low - z) <= X <= s·(high - z), else 0.

    A scale that is computed from X itself (max|w| / 127 of a weight) cuts nothing off and takes no gradient. A scale
    2^r with a trained r follows its data, as the moving average of Jacob et al. 2018, section 3.1, does:
    dr = r - log2(max|X| / (high - z)), the slope of half the squared distance; Pow's rule multiplies by ln 2 · s, which
    is divided out here.
    """
    x, scale = node.input[0], node.input[1]
    zero = tape.constants.get(node.input[2]) if len(node.input) > 2 else np.zeros((), np.uint8)
    if zero is None or zero.dtype not in _HIGHEST:
        raise UsageError(f"QuantizeLinear {node.name!r} has a zero point that is no constant of 8 or 16 bits")
    if _depends(tape, scale, x):
        return {0: slope}
    if zero.size > 1:
        raise UsageError(f"QuantizeLinear {node.name!r} rounds rows per channel: give activations one scale")
    info = np.iinfo(zero.dtype)
    least, most = float(info.min) - float(zero.reshape(())), float(info.max) - float(zero.reshape(()))
    found = {}
    if tape.wanted(x):
        masked = slope
        for operator, steps in (("GreaterOrEqual", least), ("LessOrEqual", most)):
            if steps == 0.0 and tape.producer(x) == "Relu":
                continue  # the ReLU's own rule cuts there
            inside = tape.add(operator, x, tape.add("Mul", scale, tape.number(steps)))
            masked = tape.add("Mul", masked, tape.add("Cast", inside, to=TensorProto.FLOAT))
        found[0] = masked
    if tape.wanted(scale):
        peak = tape.add("ReduceMax", tape.add("Abs", x), keepdims=0) if least else tape.add("ReduceMax", x, keepdims=0)
        wished = tape.add("Max", tape.add("Mul", peak, tape.number(1 / most)), tape.number(2.0**-40))
        gap = tape.add("Log", tape.add("Div", scale, wished))  # ln 2 · (r - log2(wished))
        found[1] = tape.add("Div", gap, tape.add("Mul", scale, tape.number(float(np.log(2.0)) ** 2)))
    return found


def _depends(tape: Tape, name: str, source: str) -> bool:
    """Tell whether `name` is computed from `source`."""
    reached = {source}
    for node in tape.network.nodes:
        if reached & set(node.input):
            reached.update(node.output)
    return name in reached
