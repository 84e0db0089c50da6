"""Gradient of Conv in one, two or three spatial dimensions, with strides, pads, dilations and groups."""

from collections.abc import Mapping

import onnx

from quantize.differentiate.filters import weight_slope
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute
from quantize.differentiate.window import window_of


@rule("Conv")
def conv(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[n,m,p] = sum over c, k of X[n,c,s·p + d·k - pad] W[m,c,k] + B[m].

    dX = ConvTranspose(dY, W) of the same window; dB[m] = sum over n, p of dY; dW[m,c,k] = sum over n, p of
    dY[n,m,p] X[n,c,s·p + d·k - pad]: a convolution of X by dY in which strides and dilations change places.
    """
    x, w = node.input[0], node.input[1]
    shape = tape.fixed_shape(w)
    window = window_of(tape, node, shape[2:])
    group = int(attribute(node, "group", 1))
    sizes = tape.fixed_shape(x, 2)
    found = {}
    if tape.wanted(x):
        found[0] = tape.add(
            "ConvTranspose",
            slope,
            w,
            kernel_shape=list(window.kernel),
            strides=list(window.strides),
            dilations=list(window.dilations),
            pads=list(window.pads),
            group=group,
            output_padding=[window.leftover(place, size) for place, size in enumerate(sizes)],
        )
    if tape.wanted(w):
        found[1] = weight_slope(tape, x, w, slope, window=window, group=group)
    if len(node.input) > 2 and node.input[2] and tape.wanted(node.input[2]):
        axes = [0, *range(2, 2 + window.rank)]
        found[2] = tape.add("ReduceSum", slope, tape.whole(*axes), keepdims=0)
    return found
