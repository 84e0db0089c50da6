"""Gradients of MaxPool, AveragePool and their global forms."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from quantize.differentiate.activations import where_positive
from quantize.differentiate.places import places, tiles
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute
from quantize.differentiate.window import Window, window_of


@rule("MaxPool")
def max_pool(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[p] = X[i(p)] with i(p) the place of the first largest value of the window: dX[i] = sum of dY[p] with i(p) = i.

    Windows that touch no cell twice need no sum: MaxUnpool. Others scatter with addition. Behind a Relu that nothing
    else reads, the slope is cut off where Y = 0, which is where Relu would cut it, before it is spread.
    """
    window = window_of(node, tuple(attribute(node, "kernel_shape", [])))
    x = node.input[0]
    if tape.producer(x) == "Relu" and tape.readers(x) == 1:
        slope = where_positive(tape, node.output[0], slope)
        tape.cut_off.add(x)
    if tiles(tape, node, window):
        found = places(tape, node)
    else:
        if len(node.output) < 2:
            node.output.append(tape.fresh("train/places"))
        found = node.output[1]
    shape = tape.add("Shape", x)
    if window.rank == 2 and _apart(window):
        attributes = {"kernel_shape": list(window.kernel), "strides": list(window.strides)}
        return {0: tape.add("MaxUnpool", slope, found, shape, **attributes)}
    cells = tape.add("Reshape", tape.add("Size", x), tape.whole(1))
    empty = tape.add("ConstantOfShape", cells, value=numpy_helper.from_array(np.zeros(1, np.float32)))
    flat = [tape.add("Reshape", name, tape.whole(-1)) for name in (found, slope)]
    full = tape.add("ScatterElements", empty, *flat, axis=0, reduction="add")
    return {0: tape.add("Reshape", full, shape)}


def _apart(window: Window) -> bool:
    return (
        all(stride >= kernel for stride, kernel in zip(window.strides, window.kernel, strict=True))
        and not any(window.pads)
        and set(window.dilations) == {1}
    )


@rule("AveragePool")
def average_pool(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[p] = sum of X over the window / count(p): dX = ConvTranspose of dY/count(p) by ones, per channel."""
    window = window_of(node, tuple(attribute(node, "kernel_shape", [])))
    channels, *sizes = tape.fixed_shape(node.input[0], 1)
    counts = _counts(window, tuple(sizes), include_pads=bool(attribute(node, "count_include_pad", 0)))
    scaled = tape.add("Mul", slope, tape.constant(1.0 / counts, np.float32))
    ones = tape.constant(np.ones((channels, 1, *window.kernel)), np.float32)
    padding = [window.leftover(place, size) for place, size in enumerate(sizes)]
    return {
        0: tape.add("ConvTranspose", scaled, ones, group=channels, **window.attributes, output_padding=padding),
    }


def _counts(
    window: Window, sizes: tuple[int, ...], *, include_pads: bool
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return the number of cells that each window averages, in the spatial shape of Y."""
    total = np.ones((), np.float64)
    for place, size in enumerate(sizes):
        before, behind = window.pads[place], window.pads[place + window.rank]
        cells = np.pad(np.ones(size), (before, behind), constant_values=float(include_pads))
        steps = range(0, len(cells) - window.reach(place) + 1, window.strides[place])
        along = [cells[start : start + window.reach(place) : window.dilations[place]].sum() for start in steps]
        total = np.multiply.outer(total, np.array(along))
    return total


@rule("GlobalAveragePool")
def global_average_pool(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = mean of X over all spatial cells: dX = dY / cells in every cell."""
    cells = int(np.prod(tape.fixed_shape(node.input[0], 2)))
    scaled = tape.add("Mul", slope, tape.number(1.0 / cells))
    return {0: tape.add("Expand", scaled, tape.add("Shape", node.input[0]))}


@rule("GlobalMaxPool")
def global_max_pool(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = largest X over all spatial cells: dX = dY where X = Y, in equal parts where several cells are."""
    axes = tape.whole(*range(2, len(tape.shape(node.input[0]))))
    hits = tape.add("Cast", tape.add("Equal", *node.input, *node.output), to=onnx.TensorProto.FLOAT)
    return {0: tape.add("Mul", hits, tape.add("Div", slope, tape.add("ReduceSum", hits, axes, keepdims=1)))}
