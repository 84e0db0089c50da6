"""Translations of sums, means and extremes over axes."""

from collections.abc import Sequence

import onnx

from quantize.differentiate.tape import attribute
from quantize.tflite.measuring import cells
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
    if len(node.input) > 1 and node.input[1]:
        axes = [int(axis) for axis in to.fixed(node.input[1], "the axes")]
    else:
        axes = [int(axis) for axis in attribute(node, "axes", [])]
    if not axes:
        if int(attribute(node, "noop_with_empty_axes", 0)):
            return x
        axes = list(range(x.rank))
    return reduced(to, _NAMES[node.op_type], x, axes, keep=bool(attribute(node, "keepdims", 1)))


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


@translation("GlobalAveragePool")
def global_average_pool(to: Translator, node: onnx.NodeProto) -> Value:
    """MEAN over all spatial axes."""
    x = to.value(node.input[0])
    return reduced(to, "MEAN", x, range(2, x.rank), keep=True)


@translation("Size")
def size(to: Translator, node: onnx.NodeProto) -> Value:
    """The number of cells: a constant, or SHAPE multiplied up where it follows the batch."""
    x = to.value(node.input[0])
    if cells(x.shape) > 0:
        return to.of(cells(x.shape))
    dims = to.graph.add("SHAPE", [x.tensor], (x.rank,), "int32", outType=2)
    return plain(to.graph.add("REDUCE_PROD", [dims, to.whole([0])], (), keepDims=False))
