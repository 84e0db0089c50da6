"""Translations of sums, means and extremes over axes."""

from collections.abc import Sequence

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.measuring import cells
from quantize.tflite.shaping import cut
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value, plain

_NAMES = {
    "ReduceSum": "SUM",
    "ReduceMean": "MEAN",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
}


@translation(*_NAMES)
def reduce(to: Translator, node: onnx.NodeProto) -> Value:
    """The builtin operator over the axes as they lie in memory."""
    x = to.value(node.input[0])
    axes, keep = _axes(to, node, x)
    return reduced(to, _NAMES[node.op_type], x, axes, keep=keep)


def _axes(to: Translator, node: onnx.NodeProto, x: Value) -> tuple[list[int], bool]:
    """Return the axes that go, and whether they stay as ones."""
    if len(node.input) > 1 and node.input[1]:
        axes = [int(axis) for axis in to.fixed(node.input[1], "the axes")]
    else:
        axes = [int(axis) for axis in attribute(node, "axes", [])]
    if not axes and not int(attribute(node, "noop_with_empty_axes", 0)):
        axes = list(range(x.rank))
    return axes, bool(attribute(node, "keepdims", 1))


@translation("ReduceL1", "ReduceL2", "ReduceSumSquare")
def norm(to: Translator, node: onnx.NodeProto) -> Value:
    """SUM of magnitudes or of squares, and the root of it for ReduceL2."""
    x = to.value(node.input[0])
    axes, keep = _axes(to, node, x)
    cell = to.apply("ABS", x) if node.op_type == "ReduceL1" else to.apply("MUL", x, x)
    total = reduced(to, "SUM", cell, axes, keep=keep)
    return to.apply("SQRT", total) if node.op_type == "ReduceL2" else total


@translation("ReduceLogSumExp")
def log_sum_exp(to: Translator, node: onnx.NodeProto) -> Value:
    """M + log of SUM of exp(x - m) with m the largest, which does not overflow."""
    x = to.value(node.input[0])
    axes, keep = _axes(to, node, x)
    peak = reduced(to, "REDUCE_MAX", x, axes, keep=True)
    total = reduced(to, "SUM", to.apply("EXP", to.apply("SUB", x, peak)), axes, keep=True)
    found = to.apply("ADD", peak, to.apply("LOG", total))
    return found if keep else to.reshape(found, to.shape(node.output[0]))


@translation("ArgMax")
def arg_max(to: Translator, node: onnx.NodeProto) -> Value:
    """ARG_MAX, which takes the first of equals as ONNX does."""
    x = to.value(node.input[0])
    if int(attribute(node, "select_last_index", 0)):
        raise UsageError(f"ArgMax {node.name!r} takes the last of equals, which has no translation to TFLite")
    axis = int(attribute(node, "axis", 0)) % x.rank
    place = x.place(axis)
    shape = tuple(dim for at, dim in enumerate(x.tensor.shape) if at != place)
    kind = {"outputType": 2}  # int32
    tensor = to.graph.add("ARG_MAX", [x.tensor, to.graph.constant(place, "int32")], shape, "int32", **kind)
    rest = [other for other in x.order if other != axis]
    found = Value(tensor=tensor, order=tuple(sorted(rest).index(other) for other in rest))
    return to.reshape(found, to.shape(node.output[0]))


def reduced(to: Translator, name: str, x: Value, axes: Sequence[int], *, keep: bool) -> Value:
    """Return `x` reduced over axes by the builtin operator `name`."""
    gone = {axis % x.rank for axis in axes}
    places = sorted(x.place(axis) for axis in gone)
    dims = list(enumerate(x.tensor.shape))
    if keep:
        shape = tuple(1 if place in places else dim for place, dim in dims)
        order = x.order
    else:
        shape = tuple(dim for place, dim in dims if place not in places)
        rest = [axis for axis in x.order if axis not in gone]
        order = tuple(sorted(rest).index(axis) for axis in rest)
    if all(x.tensor.shape[place] == 1 for place in places):
        return Value(tensor=to.reshaped(x.tensor, shape), order=order)
    return Value(tensor=to.graph.add(name, [x.tensor, to.whole(places)], shape, keepDims=keep), order=order)


@translation("GlobalAveragePool", "GlobalMaxPool")
def global_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """MEAN or REDUCE_MAX over all spatial axes."""
    x = to.value(node.input[0])
    name = "MEAN" if node.op_type == "GlobalAveragePool" else "REDUCE_MAX"
    return reduced(to, name, x, range(2, x.rank), keep=True)


@translation("Shape")
def shape(to: Translator, node: onnx.NodeProto) -> Value:
    """SHAPE."""
    x = to.value(node.input[0])
    tensor = to.plain(x)
    first, last, _ = slice(attribute(node, "start", 0), attribute(node, "end", None)).indices(x.rank)
    dims = plain(to.graph.add("SHAPE", [tensor], (x.rank,), "int32", outType=2))
    return cut(to, dims, {0: slice(first, last)})


@translation("Size")
def size(to: Translator, node: onnx.NodeProto) -> Value:
    """The number of cells: a constant, or SHAPE multiplied up where it follows the batch."""
    x = to.value(node.input[0])
    if cells(x.shape) > 0:
        return to.of(cells(x.shape))
    dims = to.graph.add("SHAPE", [x.tensor], (x.rank,), "int32", outType=2)
    return plain(to.graph.add("REDUCE_PROD", [dims, to.whole([0])], (), keepDims=False))
