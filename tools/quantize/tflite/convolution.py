"""Translations of Conv and ConvTranspose: CONV_2D and DEPTHWISE_CONV_2D on images with channels last.

A transposed convolution is a convolution of the image, its cells spread apart by the strides, by the kernel turned by
half a turn: TRANSPOSE_CONV takes no groups and no dilations, and needs the batch in numbers. The kernel is turned with
its taps as one axis, since REVERSE_V2 over two axes is wrong, without an error, in tflite-runtime 2.14.
"""

import math

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.reductions import reduced
from quantize.tflite.shaping import bordered, cut, joined
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value
from quantize.tflite.windows import LAST, Window, counted, image_of, padded, strided, window_of, woven

MOST_GROUPS = 64
"""Of a convolution that is neither full nor by channel: each group becomes an operator."""


@translation("Conv")
def conv(to: Translator, node: onnx.NodeProto) -> Value:
    """CONV_2D, or DEPTHWISE_CONV_2D where each group has one channel."""
    x = image_of(to, to.value(node.input[0]), f"Conv {node.name!r}")
    w = image_of(to, to.value(node.input[1]), f"Conv {node.name!r}")
    window = window_of(node, to.shape(node.input[1])[2:], x.shape[2:])
    bias = to.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    found = convolved(to, x, w, window, group=int(attribute(node, "group", 1)), bias=bias)
    return to.reshape(found, to.shape(node.output[0]))


def convolved(to: Translator, x: Value, w: Value, window: Window, *, group: int, bias: Value | None = None) -> Value:
    """Return the convolution of an image.

    Args:
        to: the translator.
        x: (N, C, H, W).
        w: (M, C / group, kernel height, kernel width).
        window: how it moves.
        group: its groups.
        bias: (M,).
    """
    filters, channels = w.shape[0], x.shape[1]
    if group > 1 and group != channels:
        return _by_group(to, x, w, window, group=group, bias=bias)
    shape = (x.shape[0], *counted(x, window), filters)
    x, padding = padded(to, x, window)
    b = None if bias is None else to.plain(bias)
    image = to.in_order(x, LAST)
    options = strided(window, padding)
    if group == 1:
        inputs = [image, to.in_order(w, LAST), b or to.graph.constant(np.zeros(filters))]
        return Value(tensor=to.graph.add("CONV_2D", inputs, shape, **options), order=LAST)
    inputs = [image, to.in_order(w, (1, 2, 3, 0)), b or to.graph.constant(np.zeros(filters))]
    tensor = to.graph.add("DEPTHWISE_CONV_2D", inputs, shape, depthMultiplier=filters // channels, **options)
    return Value(tensor=tensor, order=LAST)


def _by_group(to: Translator, x: Value, w: Value, window: Window, *, group: int, bias: Value | None) -> Value:
    if group > MOST_GROUPS:
        raise UsageError(f"a convolution in {group} groups has no translation to TFLite: at most {MOST_GROUPS}")
    width, filters = x.shape[1] // group, w.shape[0] // group
    parts = []
    # Channels may follow the batch: the gradient of the weights is such a convolution.
    apart = to.reshape(x, (x.shape[0], group, width, *x.shape[2:]))
    for place in range(group):
        span = slice(place * filters, (place + 1) * filters)
        part = to.reshape(cut(to, apart, {1: slice(place, place + 1)}), (x.shape[0], width, *x.shape[2:]))
        its_bias = None if bias is None else cut(to, bias, {0: span})
        parts.append(convolved(to, part, cut(to, w, {0: span}), window, group=1, bias=its_bias))
    return joined(to, parts, 1)


@translation("ConvTranspose")
def conv_transpose(to: Translator, node: onnx.NodeProto) -> Value:
    """CONV_2D or DEPTHWISE_CONV_2D of the image spread apart by the kernel turned."""
    if bytes(attribute(node, "auto_pad", b"NOTSET")) != b"NOTSET" or attribute(node, "output_shape", None):
        raise UsageError(f"ConvTranspose {node.name!r} computes its pads: write them out")
    x = image_of(to, to.value(node.input[0]), f"ConvTranspose {node.name!r}")
    w = image_of(to, to.value(node.input[1]), f"ConvTranspose {node.name!r}")
    window = window_of(node, to.shape(node.input[1])[2:], x.shape[2:])
    extra = (*attribute(node, "output_padding", [0, 0]), 0)[:2]
    found = spread(to, x, w, window, group=int(attribute(node, "group", 1)), extra=(int(extra[0]), int(extra[1])))
    if len(node.input) > 2 and node.input[2]:
        bias = to.value(node.input[2])
        found = to.apply("ADD", found, to.reshape(bias, (bias.shape[0], 1, 1)))
    return to.reshape(found, to.shape(node.output[0]))


def spread(to: Translator, x: Value, w: Value, window: Window, *, group: int, extra: tuple[int, int]) -> Value:
    """Return the transposed convolution of an image.

    Args:
        to: the translator.
        x: (N, M, H, W).
        w: (M, C / group, kernel height, kernel width).
        window: of the convolution that is transposed.
        group: its groups.
        extra: rows and columns that it leaves out at the end.
    """
    border = {}
    for place in (0, 1):
        before, behind = window.pads[place]
        step = window.strides[place] - 1  # what weaving puts behind the last cell
        border[2 + place] = (
            window.reach(place) - 1 - before,
            window.reach(place) - 1 - behind + extra[place] - step,
        )
    if window.strides != (1, 1):
        x = woven(to, [[x]], window.strides)
    image = bordered(to, Value(tensor=to.in_order(x, LAST), order=LAST), border)
    still = Window(kernel=window.kernel, strides=(1, 1), dilations=window.dilations, pads=((0, 0), (0, 0)))
    return _turned_by_group(to, image, w, still, group)


def _turned_by_group(to: Translator, image: Value, w: Value, window: Window, group: int) -> Value:
    filters, inner = w.shape[:2]
    if group == 1:
        return convolved(to, image, to.moved(_half_turned(to, w, window), (1, 0, 2, 3)), window, group=1)
    if inner == 1:
        # Each channel by its own kernel, then the channels of a group summed.
        found = convolved(to, image, _half_turned(to, w, window), window, group=filters)
        if filters == group:
            return found
        rows, _, *sizes = found.shape
        return reduced(to, "SUM", to.reshape(found, (rows, group, filters // group, *sizes)), [2], keep=False)
    if group > MOST_GROUPS:
        raise UsageError(f"a convolution in {group} groups has no translation to TFLite: at most {MOST_GROUPS}")
    parts = []
    for place in range(group):
        span = slice(place * filters // group, (place + 1) * filters // group)
        part = cut(to, w, {0: span})
        parts.append(_turned_by_group(to, cut(to, image, {1: span}), part, window, 1))
    return joined(to, parts, 1)


def _half_turned(to: Translator, w: Value, window: Window) -> Value:
    """Return a kernel (M, C, h, w) upside down and back to front: its taps as one axis, in reverse."""
    taps = math.prod(window.kernel)
    if taps == 1:
        return w
    first, second = w.shape[:2]
    order = (1, 2, 3, 0)
    tensor = to.in_order(w, order)
    line = to.reshaped(tensor, (second, taps, first))
    line = to.graph.add("REVERSE_V2", [line, to.whole([1])], line.shape)
    return Value(tensor=to.reshaped(line, tensor.shape), order=order)
