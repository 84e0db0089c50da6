"""A training graph evaluated in float64 by the ONNX project's own reference: slow, and independent of any runtime.

`quantize.kernels` stands in for those of its operators that are wrong, incomplete or not in float64.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from quantize.kernels import KERNELS

Array = npt.NDArray[Any]


def exact(model: onnx.ModelProto, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """Return the outputs `names` of a graph, every float in it float64.

    Args:
        model: a training graph.
        names: outputs.
        feeds: the inputs; float32 arrays are widened.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for info in (*wide.graph.input, *wide.graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT:
            info.type.tensor_type.elem_type = TensorProto.DOUBLE
    for item in wide.graph.initializer:
        if item.data_type == TensorProto.FLOAT:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float64), item.name))
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float64)))
    doubled = {name: value.astype(np.float64) if value.dtype == np.float32 else value for name, value in feeds.items()}
    evaluator = ReferenceEvaluator(wide, new_ops=list(KERNELS))
    return [np.asarray(value) for value in evaluator.run(list(names), doubled)]
