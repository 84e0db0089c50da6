"""Translations of the pools, and of what ONNX spells with places of maxima: the gradient of MaxPool.

TFLite's MAX_POOL_2D tells no places. The place is found again on the way back: the first cell of a window, row by row,
that equals its maximum, which is what onnxruntime chooses.
"""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.convolution import convolved
from quantize.tflite.elementwise import as_kind
from quantize.tflite.shaping import bordered, cut
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value
from quantize.tflite.windows import LAST, Window, counted, image_of, padded, strided, window_of, woven

_ON_THE_WAY = {"Reshape": 0, "Sub": 1, "Cast": 0, "MaxPool": 0, "Mul": 0, "Equal": 1, "Resize": 0}
"""From places to the pool that has them: operators, and the input that leads on (see `differentiate.places`)."""
LOWEST = float(np.finfo(np.float32).min)


def _pool(to: Translator, node: onnx.NodeProto) -> tuple[Value, Window]:
    x = image_of(to, to.value(node.input[0]), f"{node.op_type} {node.name!r}")
    return x, window_of(node, attribute(node, "kernel_shape", []), x.shape[2:])


def _filtered(window: Window, padding: int) -> dict[str, Any]:
    sizes = {"filterHeight": window.kernel[0], "filterWidth": window.kernel[1]}
    return strided(window, padding, dilated=False) | sizes


@translation("MaxPool")
def max_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """MAX_POOL_2D; MAXIMUM over the taps where the kernel is dilated."""
    x, window = _pool(to, node)
    counts = counted(x, window)
    if window.dilations != (1, 1):
        image = _bordered(to, x, window, LOWEST)
        found, *others = [_tapped(to, image, window, tap, counts) for tap in _taps(window)]
        for other in others:
            found = to.apply("MAXIMUM", found, other)
        return to.reshape(found, to.shape(node.output[0]))
    image, padding = padded(to, x, window, LOWEST)
    shape = (x.shape[0], *counts, x.shape[1])
    tensor = to.graph.add("MAX_POOL_2D", [to.in_order(image, LAST)], shape, **_filtered(window, padding))
    return to.reshape(Value(tensor=tensor, order=LAST), to.shape(node.output[0]))


def _bordered(to: Translator, x: Value, window: Window, fill: float) -> Value:
    image = Value(tensor=to.in_order(x, LAST), order=LAST)
    return bordered(to, image, {2: window.pads[0], 3: window.pads[1]}, fill)


def _taps(window: Window) -> list[tuple[int, int]]:
    return list(itertools.product(range(window.kernel[0]), range(window.kernel[1])))


def _tapped(to: Translator, image: Value, window: Window, tap: tuple[int, int], counts: tuple[int, ...]) -> Value:
    """Return the cells of a bordered image that one tap of the kernel meets as the window moves."""
    spans = {}
    for place in (0, 1):
        start, stride = tap[place] * window.dilations[place], window.strides[place]
        spans[2 + place] = slice(start, start + stride * (counts[place] - 1) + 1, stride)
    return cut(to, image, spans)


@translation("MaxUnpool", reads=(0,))
def max_unpool(to: Translator, node: onnx.NodeProto) -> Value:
    """Slopes put back to the places of a MaxPool."""
    pool = _pool_behind(to, node, node.input[1])
    return to.reshape(_put_back(to, pool, to.value(node.input[0])), to.shape(node.output[0]))


@translation("ScatterElements", reads=(2,))
def scatter_elements(to: Translator, node: onnx.NodeProto) -> Value:
    """Slopes added up at the places of a MaxPool, both written as one line of cells."""
    pool = _pool_behind(to, node, node.input[1])
    slope = to.value(node.input[2])
    found = _put_back(to, pool, to.reshape(_unlined(to, node.input[2], slope), to.shape(pool.output[0])))
    found = to.reshape(found, to.shape(pool.input[0]))
    to.remember(node.output[0], found)
    return to.reshape(found, to.shape(node.output[0]))


def _unlined(to: Translator, name: str, line: Value) -> Value:
    """Return the slopes as they were before they were written as a line, if they were."""
    maker = to.maker(name)
    return to.value(maker.input[0]) if maker is not None and maker.op_type == "Reshape" else line


def _pool_behind(to: Translator, node: onnx.NodeProto, name: str) -> onnx.NodeProto:
    maker, compared = to.maker(name), False
    while maker is not None and maker.op_type in _ON_THE_WAY and (maker.op_type, compared) != ("MaxPool", True):
        if maker.op_type == "MaxPool" and list(maker.output).index(name) == 1:
            return maker
        compared = compared or maker.op_type == "Equal"
        name = maker.input[_ON_THE_WAY[maker.op_type]]
        maker = to.maker(name)
    if maker is None or maker.op_type != "MaxPool":
        raise UsageError(
            f"{node.op_type} {node.name!r} takes its places from no MaxPool: it has no translation to TFLite"
        )
    return maker


def _put_back(to: Translator, pool: onnx.NodeProto, slope: Value) -> Value:
    """Return the slope of a MaxPool's input, of the image's shape.

    Taps of the kernel that lie less than a stride apart are woven into one image; images of taps that lie further
    apart overlap, and are added.
    """
    x, window = _pool(to, pool)
    image = _bordered(to, x, window, LOWEST)
    top = image_of(to, to.value(pool.output[0]), "MaxPool")
    shares = _shares(to, image, top, image_of(to, slope, "MaxPool"), window)
    total: Value | None = None
    for start, lines in _blocks(window):
        found = woven(to, [[shares[tap] for tap in line] for line in lines], window.strides)
        behind = [image.shape[2 + place] - start[place] - found.shape[2 + place] for place in (0, 1)]
        found = bordered(to, found, {2: (start[0], behind[0]), 3: (start[1], behind[1])})
        total = found if total is None else to.apply("ADD", total, found)
    assert total is not None
    return bordered(to, total, {2 + place: (-window.pads[place][0], -window.pads[place][1]) for place in (0, 1)})


def _blocks(window: Window) -> list[tuple[tuple[int, int], list[list[tuple[int, int]]]]]:
    """Return taps that can be woven together, each block with the cell where it starts."""
    if window.dilations != (1, 1):
        cells = [(tap[0] * window.dilations[0], tap[1] * window.dilations[1]) for tap in _taps(window)]
        return [(cell, [[tap]]) for cell, tap in zip(cells, _taps(window), strict=True)]
    starts = [range(0, size, stride) for size, stride in zip(window.kernel, window.strides, strict=True)]
    found = []
    for top, left in itertools.product(*starts):
        rows = range(top, min(top + window.strides[0], window.kernel[0]))
        columns = range(left, min(left + window.strides[1], window.kernel[1]))
        found.append(((top, left), [[(row, column) for column in columns] for row in rows]))
    return found


def _shares(to: Translator, image: Value, top: Value, slope: Value, window: Window) -> dict[tuple[int, int], Value]:
    """Return what each tap of the kernel receives: the slope where it is the first to equal the maximum, else zero."""
    found: dict[tuple[int, int], Value] = {}
    left, taps = slope, _taps(window)
    for tap in taps:
        here = to.apply("EQUAL", _tapped(to, image, window, tap, top.shape[2:]), top, kind="bool")
        found[tap] = to.apply("MUL", left, as_kind(to, here, "float32"))
        if tap != taps[-1]:
            left = to.apply("SUB", left, found[tap])
    return found


@translation("AveragePool")
def average_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """AVERAGE_POOL_2D; where pads are not counted and are not SAME's, the average with zeros, scaled.

    A dilated kernel is a convolution of each channel by equal weights.
    """
    x, window = _pool(to, node)
    included = bool(attribute(node, "count_include_pad", 0))
    if window.dilations != (1, 1):
        equal = np.full((x.shape[1], 1, *window.kernel), 1 / np.prod(window.kernel), np.float32)
        found, padding = convolved(to, x, to.of(equal), window, group=x.shape[1]), 1
    else:
        image, padding = padded(to, x, window)
        if included and padding == 0:
            image, padding = _bordered(to, x, window, 0.0), 1
        shape = (x.shape[0], *counted(x, window), x.shape[1])
        tensor = to.graph.add("AVERAGE_POOL_2D", [to.in_order(image, LAST)], shape, **_filtered(window, padding))
        found = Value(tensor=tensor, order=LAST)
    if not included and padding == 1 and any(map(any, window.pads)):
        found = to.apply("MUL", found, to.of(_scale(x, window, counted(x, window))))
    return to.reshape(found, to.shape(node.output[0]))


def _scale(x: Value, window: Window, counts: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return (1, 1, H, W): the kernel's cells over those that lie within the image."""
    inside = []
    for place in (0, 1):
        starts = np.arange(counts[place])[:, None] * window.strides[place] - window.pads[place][0]
        cells = starts + np.arange(window.kernel[place]) * window.dilations[place]
        inside.append(((cells >= 0) & (cells < x.shape[2 + place])).mean(axis=1))
    scale: npt.NDArray[np.float32] = (1.0 / np.multiply.outer(*inside)).astype(np.float32)
    return scale[None, None]
