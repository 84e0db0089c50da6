"""Gradients of Conv and ConvTranspose in any number of dimensions, with strides, pads, dilations and groups."""

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
    window = window_of(node, shape[2:])
    group = int(attribute(node, "group", 1))
    sizes = tape.fixed_shape(x, 2)
    found = {}
    if tape.wanted(x) and group == 1 and not any(window.pads) and {*window.kernel, *window.strides} == {1}:
        # One cell to one cell: a convolution again, and quicker than its transpose.
        turned = tape.add("Transpose", w, perm=[1, 0, *range(2, 2 + window.rank)])
        found[0] = tape.add("Conv", slope, turned, kernel_shape=list(window.kernel))
    elif tape.wanted(x):
        found[0] = tape.add(
            "ConvTranspose",
            slope,
            w,
            group=group,
            **window.attributes,
            output_padding=[window.leftover(place, size) for place, size in enumerate(sizes)],
        )
    if tape.wanted(w):
        found[1] = weight_slope(tape, x, slope, shape, tape.fixed_shape(x, 1), window=window, group=group)
    return {**found, **_bias_slope(tape, node, slope, window.rank)}


@rule("ConvTranspose")
def conv_transpose(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[n,m,s·p + d·k - pad] = sum over c of X[n,c,p] W[c,m,k], summed over what meets there, + B[m].

    It is the transpose of a convolution: dX = Conv(dY, W) of the same window, dB[m] = sum over n, q of dY[n,m,q], and
    dW[c,m,k] = sum over n, p of X[n,c,p] dY[n,m,s·p + d·k - pad]: the weights' gradient of that convolution, in which
    dY goes in and X comes back.
    """
    x, w = node.input[0], node.input[1]
    shape = tape.fixed_shape(w)
    window = window_of(node, shape[2:])
    group = int(attribute(node, "group", 1))
    found = {}
    if tape.wanted(x):
        found[0] = tape.add(
            "Conv",
            slope,
            w,
            group=group,
            **window.attributes,
        )
    if tape.wanted(w):
        sizes = tape.fixed_shape(node.output[0], 1)
        found[1] = weight_slope(tape, slope, x, shape, sizes, window=window, group=group)
    return {**found, **_bias_slope(tape, node, slope, window.rank)}


def _bias_slope(tape: Tape, node: onnx.NodeProto, slope: str, rank: int) -> Mapping[int, str]:
    """Return dB, the sum of dY over rows and cells, under the bias's place; nothing where nobody wants it."""
    if len(node.input) < 3 or not node.input[2] or not tape.wanted(node.input[2]):
        return {}
    return {2: tape.add("ReduceSum", slope, tape.whole(0, *range(2, 2 + rank)), keepdims=0)}
