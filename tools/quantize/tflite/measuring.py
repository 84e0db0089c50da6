"""Every tensor of an ONNX graph as onnxruntime finds it: its type, how its shape follows the batch, constants' values.

Shape inference can't see through shapes that a graph computes; running it with two batches can.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from accord.errors import UsageError
from accord.runtimes.onnx import load_onnxruntime
from quantize.tflite.graph import Shape

Array = npt.NDArray[Any]

BATCHES = (2, 3)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One tensor: its shape with -k for k·N, its NumPy type, and its value if it depends on no input."""

    shape: Shape
    dtype: np.dtype[Any]
    value: Array | None = None


def measured(model: onnx.ModelProto) -> dict[str, Measured]:
    """Return what is known of each tensor of a model, by name.

    Args:
        model: one whose inputs have shapes with at most the first dimension open.

    Raises:
        UsageError: onnxruntime can't run it, or a shape does not follow the batch in proportion.
    """
    graph = model.graph
    names = [name for node in graph.node for name in node.output if name]
    loud = onnx.ModelProto()
    loud.CopyFrom(model)
    del loud.graph.output[:]
    loud.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    runs = [_run(loud, names, rows) for rows in BATCHES]
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    fixed = _fixed(graph.node, set(constants))
    found = {name: Measured(shape=value.shape, dtype=value.dtype, value=value) for name, value in constants.items()}
    for name, few in runs[0].items():
        shape = _shape(name, few.shape, runs[1][name].shape)
        found[name] = Measured(shape=shape, dtype=few.dtype, value=few if name in fixed else None)
    return found


def _run(model: onnx.ModelProto, names: Sequence[str], rows: int) -> Mapping[str, Array]:
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    feeds = {}
    for info in model.graph.input:
        dims = [dim.dim_value or rows for dim in info.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        feeds[info.name] = np.zeros(dims, dtype)
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values = session.run(list(names), feeds)
    except Exception as error:  # onnxruntime's own errors share no base class
        raise UsageError(f"onnxruntime can't run the graph that is to be translated: {error}") from error
    return {**feeds, **dict(zip(names, values, strict=True))}


def _fixed(nodes: Sequence[onnx.NodeProto], constants: set[str]) -> set[str]:
    """Return the tensors that depend on no input."""
    known = {*constants, ""}
    for node in nodes:
        if known.issuperset(node.input):
            known.update(node.output)
    return known - constants


def _shape(name: str, few: Shape, many: Shape) -> Shape:
    dims = []
    for short, long in zip(few, many, strict=True):
        per_row, rest = divmod(short, BATCHES[0])
        if short == long:
            dims.append(short)
        elif not rest and long == per_row * BATCHES[1]:
            dims.append(-per_row)
        else:
            raise UsageError(f"{name!r} has {short} cells for {BATCHES[0]} rows and {long} for {BATCHES[1]}")
    if sum(dim < 0 for dim in dims) > 1:
        raise UsageError(f"{name!r} has two dimensions that follow the batch: {few} for {BATCHES[0]} rows")
    return tuple(dims)


def cells(shape: Shape) -> int:
    """Return the number of elements, negative if it follows the batch."""
    return math.prod(shape)
