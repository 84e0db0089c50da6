"""Translations of operators that move cells, cut them out or put them together."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.graph import Tensor
from quantize.tflite.measuring import cells
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value, plain


@translation("Reshape", "Flatten", "Squeeze", "Unsqueeze", reads=(0,))
def reshape(to: Translator, node: onnx.NodeProto) -> Value:
    """RESHAPE, into the shape that the ONNX graph was seen to have."""
    shape = to.shape(node.output[0])
    whole = to.whole_of(node.input[0])
    return whole if whole is not None and whole.shape == shape else to.reshape(to.value(node.input[0]), shape)


@translation("Transpose")
def transpose(to: Translator, node: onnx.NodeProto) -> Value:
    """Nothing: the order of the axes is another from here on."""
    x = to.value(node.input[0])
    return to.moved(x, [int(axis) for axis in attribute(node, "perm", list(range(x.rank))[::-1])])


@translation("Expand", reads=(0,))
def expand(to: Translator, node: onnx.NodeProto) -> Value:
    """A sum with zeros: BROADCAST_TO would need the batch in numbers."""
    x, shape = to.value(node.input[0]), to.shape(node.output[0])
    there = (1,) * (len(shape) - x.rank) + x.shape
    for axis, (dim, wanted) in enumerate(zip(there, shape, strict=True)):
        if wanted < 0 and dim != wanted:
            if wanted != -1:
                raise UsageError(
                    f"Expand {node.name!r} makes {-wanted} rows of each, which has no translation to TFLite"
                )
            column = [-1 if place == axis else 1 for place in range(len(shape))]
            x = to.apply("ADD", x, to.reshape(rows_of_zeros(to), tuple(column)))
    zeros = np.zeros([1 if dim < 0 else dim for dim in shape], np.float32)
    return to.apply("ADD", x, to.of(zeros.astype(np.int32) if x.tensor.kind == "int32" else zeros))


def rows_of_zeros(to: Translator) -> Value:
    """Return a zero for each row of the batch: float32 (N,)."""
    for tensor in to.graph.inputs.values():
        if tensor.shape[:1] == (-1,) and tensor.kind == "float32":
            first = cut(to, plain(tensor), {axis: slice(0, 1) for axis in range(1, len(tensor.shape))})
            return to.apply("ZEROS_LIKE", to.reshape(first, (-1,)))
    raise UsageError("no input has a row for each one of the batch")


def cut(to: Translator, x: Value, spans: dict[int, slice]) -> Value:
    """Return a part of `x`: for each axis in `spans` the cells of a slice with known ends."""
    if not spans:
        return x
    tensor, shape = x.tensor, list(x.tensor.shape)
    begin, end, step = [0] * x.rank, [0] * x.rank, [1] * x.rank
    whole, ends = 0, 0
    for place, axis in enumerate(x.order):
        if axis not in spans:
            whole |= 1 << place
            ends |= 1 << place
            continue
        if shape[place] < 0:
            raise UsageError("a part of the batch is cut out, which has no translation to TFLite")
        first, last, by = spans[axis].indices(shape[place])
        begin[place], end[place], step[place] = first, last, by
        ends |= (1 << place) if last < 0 else 0
        shape[place] = len(range(first, last, by))
    if tuple(shape) == tensor.shape and all(by == 1 for by in step):
        return x
    inputs = [tensor, *(to.whole(values) for values in (begin, end, step))]
    found = to.graph.add("STRIDED_SLICE", inputs, tuple(shape), beginMask=whole, endMask=ends)
    return Value(tensor=found, order=x.order)


@translation("Slice")
def slices(to: Translator, node: onnx.NodeProto) -> Value:
    """STRIDED_SLICE."""
    x = to.value(node.input[0])
    starts, ends, *rest = ([int(item) for item in to.fixed(name, "a slice")] if name else [] for name in node.input[1:])
    axes = rest[0] if rest and rest[0] else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 and rest[1] else [1] * len(starts)
    spans = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        dim = x.shape[axis % x.rank]
        # ONNX writes "to the very first cell" as an end before it; for a Python slice that is None.
        last = None if step < 0 and end < -abs(dim) else end
        if dim > 0 or (start, step) != (0, 1) or end < np.iinfo(np.int32).max:
            spans[axis % x.rank] = slice(start, last, step)
    return cut(to, x, spans)


@translation("Split")
def split(to: Translator, node: onnx.NodeProto) -> Value:
    """One STRIDED_SLICE for each part."""
    x = to.value(node.input[0])
    axis = int(attribute(node, "axis", 0)) % x.rank
    ends = list(itertools.accumulate(to.shape(name)[axis] for name in node.output))
    parts = [cut(to, x, {axis: slice(a, b)}) for a, b in itertools.pairwise([0, *ends])]
    for name, part in zip(node.output, parts, strict=True):
        to.keep(name, part)
    return parts[0]


@translation("Concat")
def concat(to: Translator, node: onnx.NodeProto) -> Value:
    """CONCATENATION along the axis as it lies in memory."""
    values = [to.value(name) for name in node.input]
    axis = int(attribute(node, "axis", 0)) % values[0].rank
    return joined(to, values, axis)


def joined(to: Translator, values: list[Value], axis: int) -> Value:
    """Return values put together along one axis."""
    order = max(values, key=lambda value: abs(cells(value.shape)) * (value.tensor.data is None)).order
    tensors = [to.in_order(value, order) for value in values]
    if len(tensors) == 1:
        return Value(tensor=tensors[0], order=order)
    place = order.index(axis)
    shape = list(tensors[0].shape)
    shape[place] = sum(tensor.shape[place] for tensor in tensors)
    return Value(tensor=to.graph.add("CONCATENATION", tensors, tuple(shape), axis=place), order=order)


def bordered(to: Translator, x: Value, border: dict[int, tuple[int, int]], fill: float = 0.0) -> Value:
    """Return `x` with cells of value `fill` before and behind some axes; negative numbers cut cells off."""
    cuts = {
        axis: slice(max(0, -before), x.shape[axis] - max(0, -behind))
        for axis, (before, behind) in border.items()
        if min(before, behind) < 0
    }
    x = cut(to, x, cuts)
    amounts = [[max(0, count) for count in border.get(axis, (0, 0))] for axis in x.order]
    if not any(map(any, amounts)):
        return x
    shape = tuple(
        dim + sum(amount) if any(amount) else dim for dim, amount in zip(x.tensor.shape, amounts, strict=True)
    )
    inputs: list[Tensor | None] = [x.tensor, to.graph.constant(amounts, "int32")]
    if fill:
        found = to.graph.add("PADV2", [*inputs, to.graph.constant(fill, x.tensor.kind)], shape)
    else:
        found = to.graph.add("PAD", inputs, shape)
    return Value(tensor=found, order=x.order)


@translation("Pad")
def pad(to: Translator, node: onnx.NodeProto) -> Value:
    """PAD or PADV2 with constant cells; GATHER along each axis where the cells are others of the tensor."""
    x = to.value(node.input[0])
    mode = bytes(attribute(node, "mode", b"constant")).decode()
    amounts = [int(item) for item in to.fixed(node.input[1], "the pads")]
    fill = float(to.fixed(node.input[2], "the fill")) if len(node.input) > 2 and node.input[2] else 0.0
    axes = [int(axis) for axis in to.fixed(node.input[3], "the axes")] if len(node.input) > 3 else range(x.rank)
    count = len(amounts) // 2
    border = {axis % x.rank: (amounts[at], amounts[at + count]) for at, axis in enumerate(axes)}
    if mode == "constant":
        return bordered(to, x, border, fill)
    for axis, (before, behind) in border.items():
        if (before, behind) != (0, 0):
            size = x.shape[axis]
            places = np.arange(size)[max(0, -before) : size - max(0, -behind)]
            places = np.pad(places, (max(0, before), max(0, behind)), mode=mode)  # type: ignore[call-overload]
            x = picked(to, x, places, axis)
    return x


def picked(to: Translator, x: Value, places: npt.NDArray[Any], axis: int) -> Value:
    """Return the cells of `x` at known places along one axis."""
    place = x.place(axis)
    shape = tuple(len(places) if at == place else dim for at, dim in enumerate(x.tensor.shape))
    inputs = [x.tensor, to.graph.constant(places, "int32")]
    return Value(tensor=to.graph.add("GATHER", inputs, shape, axis=place, batchDims=0), order=x.order)


@translation("Tile")
def tile(to: Translator, node: onnx.NodeProto) -> Value:
    """TILE."""
    x = to.value(node.input[0])
    repeats = [int(item) for item in to.fixed(node.input[1], "the repeats")]
    return plain(to.graph.add("TILE", [to.plain(x), to.whole(repeats)], to.shape(node.output[0])))
