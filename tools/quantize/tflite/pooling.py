"""Translations of the pools, and of what ONNX spells with places of maxima: the gradient of MaxPool.

TFLite's MAX_POOL_2D tells no places. The place is found again on the way back: the first cell of a window, row by row,
that equals its maximum, which is what onnxruntime chooses.
"""

import itertools
from typing import Any

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.elementwise import as_kind
from quantize.tflite.shaping import bordered, cut
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value
from quantize.tflite.windows import LAST, Window, counted, image_of, padded, strided, window_of, woven

LOWEST = float(np.finfo(np.float32).min)


def _pool(to: Translator, node: onnx.NodeProto) -> tuple[Value, Window]:
    x = image_of(to, to.value(node.input[0]), f"{node.op_type} {node.name!r}")
    return x, window_of(node, attribute(node, "kernel_shape", []), x.shape[2:])


def _filtered(window: Window, padding: int) -> dict[str, Any]:
    sizes = {"filterHeight": window.kernel[0], "filterWidth": window.kernel[1]}
    return strided(window, padding, dilated=False) | sizes


@translation("MaxPool")
def max_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """MAX_POOL_2D."""
    x, window = _pool(to, node)
    if window.dilations != (1, 1):
        raise UsageError(f"MaxPool {node.name!r} has dilations, which have no translation to TFLite")
    shape = (x.shape[0], *counted(x, window), x.shape[1])
    image, padding = padded(to, x, window, LOWEST)
    options = _filtered(window, padding)
    found = to.graph.add("MAX_POOL_2D", [to.in_order(image, LAST)], shape, **options)
    return to.reshape(Value(tensor=found, order=LAST), to.shape(node.output[0]))


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
    maker = to.maker(name)
    while maker is not None and maker.op_type == "Reshape":
        name = maker.input[0]
        maker = to.maker(name)
    if maker is None or maker.op_type != "MaxPool" or list(maker.output).index(name) != 1:
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
    border = {2 + place: window.pads[place] for place in (0, 1)}
    image = bordered(to, Value(tensor=to.in_order(x, LAST), order=LAST), border, LOWEST)
    top = image_of(to, to.value(pool.output[0]), "MaxPool")
    slope = image_of(to, slope, "MaxPool")
    shares = _shares(to, image, top, slope, window)
    total: Value | None = None
    for block in itertools.product(*(range(-(-k // s)) for k, s in zip(window.kernel, window.strides, strict=True))):
        start = [block[place] * window.strides[place] for place in (0, 1)]
        lines = [
            [shares[i, j] for j in range(start[1], min(start[1] + window.strides[1], window.kernel[1]))]
            for i in range(start[0], min(start[0] + window.strides[0], window.kernel[0]))
        ]
        found = woven(to, lines, window.strides)
        behind = [image.shape[2 + p] - start[p] - found.shape[2 + p] for p in (0, 1)]
        found = bordered(to, found, {2: (start[0], behind[0]), 3: (start[1], behind[1])})
        total = found if total is None else to.apply("ADD", total, found)
    assert total is not None
    return bordered(to, total, {axis: (-before, -behind) for axis, (before, behind) in border.items()})


def _shares(to: Translator, image: Value, top: Value, slope: Value, window: Window) -> dict[tuple[int, int], Value]:
    """Return what each tap of the kernel receives: the slope where it is the first to equal the maximum, else zero."""
    found: dict[tuple[int, int], Value] = {}
    left = slope
    counts = top.shape[2:]
    taps = list(itertools.product(range(window.kernel[0]), range(window.kernel[1])))
    for tap in taps:
        spans = {
            2 + place: slice(
                tap[place], tap[place] + window.strides[place] * (counts[place] - 1) + 1, window.strides[place]
            )
            for place in (0, 1)
        }
        here = to.apply("EQUAL", cut(to, image, spans), top, kind="bool")
        found[tap] = to.apply("MUL", left, as_kind(to, here, "float32"))
        if tap != taps[-1]:
            left = to.apply("SUB", left, found[tap])
    return found


@translation("AveragePool")
def average_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """AVERAGE_POOL_2D; where pads are not counted and are not SAME's, the average with zeros, scaled."""
    x, window = _pool(to, node)
    if window.dilations != (1, 1):
        raise UsageError(f"AveragePool {node.name!r} has dilations, which have no translation to TFLite")
    included = bool(attribute(node, "count_include_pad", 0))
    counts = counted(x, window)
    image, padding = padded(to, x, window)
    if included and padding == 0:
        border = {2: window.pads[0], 3: window.pads[1]}
        image, padding = bordered(to, Value(tensor=to.in_order(x, LAST), order=LAST), border), 1
    options = _filtered(window, padding)
    tensor = to.graph.add("AVERAGE_POOL_2D", [to.in_order(image, LAST)], (x.shape[0], *counts, x.shape[1]), **options)
    found = Value(tensor=tensor, order=LAST)
    if not included and padding == 1 and any(map(any, window.pads)):
        found = to.apply("MUL", found, to.of(_scale(x, window, counts)))
    return to.reshape(found, to.shape(node.output[0]))


def _scale(x: Value, window: Window, counts: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return (1, 1, H, W): the kernel's cells over those that lie within the image."""
    inside = []
    for place in (0, 1):
        starts = np.arange(counts[place]) * window.strides[place] - window.pads[place][0]
        ends = np.minimum(starts + window.kernel[place], x.shape[2 + place])
        inside.append((ends - np.maximum(starts, 0)) / window.kernel[place])
    return (1.0 / np.multiply.outer(*inside)).astype(np.float32)[None, None]
