"""Translations of operators that pick cells by number: labels, and rows of a table."""

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.reductions import reduced
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value, plain


@translation("OneHot")
def one_hot(to: Translator, node: onnx.NodeProto) -> Value:
    """ONE_HOT."""
    labels = to.value(node.input[0])
    depth = int(to.fixed(node.input[1], "the depth").reshape(()))
    off, on = (float(item) for item in to.fixed(node.input[2], "the values"))
    axis = int(attribute(node, "axis", -1)) % (labels.rank + 1)
    return _hot(to, labels, depth, axis, on=on, off=off)


def _hot(to: Translator, labels: Value, depth: int, axis: int, *, on: float = 1.0, off: float = 0.0) -> Value:
    shape = list(labels.shape)
    shape.insert(axis, depth)
    inputs = [
        to.plain(labels),
        to.graph.constant(depth, "int32"),
        to.graph.constant(on),
        to.graph.constant(off),
    ]
    last = axis if axis < labels.rank else -1
    return plain(to.graph.add("ONE_HOT", inputs, tuple(shape), "float32", axis=last))


@translation("GatherElements")
def gather_elements(to: Translator, node: onnx.NodeProto) -> Value:
    """One cell along the axis in each row: the sum of the row times ONE_HOT."""
    x, labels = to.value(node.input[0]), to.value(node.input[1])
    axis = int(attribute(node, "axis", 0)) % x.rank
    if labels.shape[axis] != 1:
        raise UsageError(f"GatherElements {node.name!r} takes several cells of a row: only one has a translation")
    rest = tuple(dim for place, dim in enumerate(labels.shape) if place != axis)
    hot = _hot(to, to.reshape(labels, rest), x.shape[axis], axis)
    return reduced(to, "SUM", to.apply("MUL", x, hot), [axis], keep=True)


@translation("Gather")
def gather(to: Translator, node: onnx.NodeProto) -> Value:
    """GATHER."""
    x, places = to.value(node.input[0]), to.value(node.input[1])
    axis = int(attribute(node, "axis", 0)) % x.rank
    inputs = [to.plain(x), to.plain(places)]
    return plain(to.graph.add("GATHER", inputs, to.shape(node.output[0]), axis=axis, batchDims=0))


@translation("ConstantOfShape")
def constant_of_shape(to: Translator, node: onnx.NodeProto) -> Value:
    """A constant, where its shape does not follow the batch."""
    shape = to.shape(node.output[0])
    if any(dim < 0 for dim in shape):
        raise UsageError(f"ConstantOfShape {node.name!r} follows the batch, which has no translation to TFLite")
    value = attribute(node, "value", None)
    fill = 0.0 if value is None else onnx.numpy_helper.to_array(value).item()
    return to.of(np.full(shape, fill, np.float32))
