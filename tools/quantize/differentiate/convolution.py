"""Gradient of Conv in one, two or three spatial dimensions, with strides, pads, dilations and groups."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a kernel moves over the spatial dimensions; `pads` are those before, then those behind."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel)

    def reach(self, place: int) -> int:
        """How many cells the dilated kernel spans along one dimension."""
        return (self.kernel[place] - 1) * self.dilations[place] + 1

    def leftover(self, place: int, size: int) -> int:
        """How many cells at the end no window touches."""
        return (size + self.pads[place] + self.pads[place + self.rank] - self.reach(place)) % self.strides[place]


def window_of(tape: Tape, node: onnx.NodeProto, kernel: tuple[int, ...]) -> Window:
    """Return the window of a Conv or a pooling node.

    Raises:
        UsageError: SAME_LOWER or SAME_UPPER with unknown sizes, or ceil_mode.
    """
    rank = len(kernel)
    strides = tuple(attribute(node, "strides", [1] * rank))
    dilations = tuple(attribute(node, "dilations", [1] * rank))
    pads = tuple(attribute(node, "pads", [0] * 2 * rank))
    auto = bytes(attribute(node, "auto_pad", b"NOTSET"))
    if auto.startswith(b"SAME"):
        sizes = tape.fixed_shape(node.input[0], 2)
        before, behind = [], []
        for place, size in enumerate(sizes):
            reach = (kernel[place] - 1) * dilations[place] + 1
            total = max(0, (math.ceil(size / strides[place]) - 1) * strides[place] + reach - size)
            before.append(total // 2 if auto == b"SAME_UPPER" else total - total // 2)
            behind.append(total - before[-1])
        pads = (*before, *behind)
    elif auto == b"VALID":
        pads = (0,) * 2 * rank
    if int(attribute(node, "ceil_mode", 0)):
        raise UsageError(f"{node.op_type} {node.name!r} rounds sizes up (ceil_mode): pad the input instead")
    return Window(kernel=kernel, strides=strides, dilations=dilations, pads=pads)


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
        found[1] = _swapped(tape, node, slope, window, group)
    if len(node.input) > 2 and node.input[2] and tape.wanted(node.input[2]):
        axes = [0, *range(2, 2 + window.rank)]
        found[2] = tape.add("ReduceSum", slope, tape.whole(*axes), keepdims=0)
    return found


def _swapped(tape: Tape, node: onnx.NodeProto, slope: str, window: Window, group: int) -> str:
    """Write dW as Conv with batch C/g, channels g·N, filters M: the rows of the batch become input channels."""
    x, w = node.input[0], node.input[1]
    channels, *sizes = tape.fixed_shape(x, 1)
    shape = tape.fixed_shape(w)
    spatial = list(range(2, 2 + window.rank))
    if group == 1:
        images = tape.add("Transpose", x, perm=[1, 0, *spatial])
    else:
        inner = channels // group
        split = tape.add("Reshape", x, tape.whole(-1, group, inner, *sizes))
        turned = tape.add("Transpose", split, perm=[2, 1, 0, *(place + 1 for place in spatial)])
        images = tape.add("Reshape", turned, tape.whole(inner, -1, *sizes))
    filters = tape.add("Transpose", slope, perm=[1, 0, *spatial])
    full = tape.add(
        "Conv",
        images,
        filters,
        strides=list(window.dilations),
        dilations=list(window.strides),
        pads=list(window.pads),
        group=group,
    )
    if any(window.leftover(place, size) for place, size in enumerate(sizes)):
        ends = tape.whole(*shape[2:])
        full = tape.add("Slice", full, tape.whole(*[0] * window.rank), ends, tape.whole(*spatial))
    return tape.add("Transpose", full, perm=[1, 0, *spatial])
