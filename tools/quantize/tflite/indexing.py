"""Translations of operators that pick cells by number: labels, and rows of a table."""

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.graph import Shape, Tensor
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
    inputs = [to.plain(x), _from_the_front(to, places, x.shape[axis : axis + 1])]
    return plain(to.graph.add("GATHER", inputs, to.shape(node.output[0]), axis=axis, batchDims=0))


@translation("GatherND")
def gather_nd(to: Translator, node: onnx.NodeProto) -> Value:
    """GATHER_ND."""
    x, places = to.value(node.input[0]), to.value(node.input[1])
    if int(attribute(node, "batch_dims", 0)):
        raise UsageError(f"GatherND {node.name!r} has batch_dims, which have no translation to TFLite")
    inputs = [to.plain(x), _from_the_front(to, places, x.shape[: places.shape[-1]])]
    return plain(to.graph.add("GATHER_ND", inputs, to.shape(node.output[0])))


@translation("ScatterND", reads=(0, 1, 2))
def scatter_nd(to: Translator, node: onnx.NodeProto) -> Value:
    """SCATTER_ND, which adds what comes to one cell twice, and the sum with what was there."""
    if bytes(attribute(node, "reduction", b"none")) != b"add":
        raise UsageError(
            f"ScatterND {node.name!r} overwrites cells, which has no translation to TFLite: only sums have"
        )
    there, places, values = (to.value(name) for name in node.input)
    index = _from_the_front(to, places, there.shape[: places.shape[-1]])
    if min(there.shape, default=1) < 0:
        dims = to.graph.add("SHAPE", [to.plain(there)], (there.rank,), "int32", outType=2)
    else:
        dims = to.whole(there.shape)
    found = plain(to.graph.add("SCATTER_ND", [index, to.plain(values), dims], there.shape, values.tensor.kind))
    known = to.known(node.input[0])
    return found if known is not None and not known.any() else to.apply("ADD", there, found)


def _from_the_front(to: Translator, places: Value, dims: Shape) -> Tensor:
    """Return indices (..., K) counted from 0 where ONNX counts negative ones from the end of K dimensions."""
    if places.tensor.data is None or int(places.tensor.data.min(initial=0)) >= 0:
        return to.plain(places)
    known = to.plain(places).data
    assert known is not None
    return to.graph.constant(
        np.where(known < 0, known + (dims[0] if len(dims) == 1 else np.array(dims)), known), "int32"
    )


@translation("ConstantOfShape")
def constant_of_shape(to: Translator, node: onnx.NodeProto) -> Value:
    """A constant; where its shape is that of a tensor that follows the batch, zeros like that tensor."""
    shape = to.shape(node.output[0])
    value = attribute(node, "value", None)
    fill = 0.0 if value is None else onnx.numpy_helper.to_array(value).item()
    if all(dim > 0 for dim in shape):
        return to.of(np.full(shape, fill, np.float32))
    maker = to.maker(node.input[0])
    if maker is None or maker.op_type != "Shape" or to.shape(maker.input[0]) != shape:
        raise UsageError(f"ConstantOfShape {node.name!r} follows the batch, which has no translation to TFLite")
    zeros = to.apply("ZEROS_LIKE", to.value(maker.input[0]))
    return to.apply("ADD", zeros, to.of(np.float32(fill))) if fill else zeros
