"""Small models for the tests of gradients: a trainable layer, the nodes under test, a linear layer."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Array = npt.NDArray[Any]
Case = tuple[list[onnx.NodeProto], dict[str, Array], tuple[int, ...]]
"""Nodes from `x` to `o`, constants, shape of one row."""


def weights(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Array:
    return np.random.default_rng((seed, *shape)).uniform(low, high, shape).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node; `_` stands for an input or output that is left out."""
    names = [["" if name == "_" else name for name in words.split()] for words in (inputs, output)]
    return helper.make_node(operator, *names, name=f"the_{operator}_{output}", **attributes)


def model(
    nodes: list[onnx.NodeProto], tensors: dict[str, Array], input_shape: tuple[int, ...], kind: int = 1
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", *input_shape])],
        [helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, ["N", "K"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def dense(before: list[onnx.NodeProto], tensors: dict[str, Any], size: tuple[int, ...]) -> Case:
    """A trainable first layer, then the nodes under test from `h` to `f`, then a linear layer."""
    return (
        [node("Mul", "x scale", "h"), *before, node("MatMul", "f last", "o")],
        {"scale": weights(*size, seed=5, low=0.5, high=1.5), **tensors},
        size,
    )


def flat(before: list[onnx.NodeProto], tensors: dict[str, Any], size: tuple[int, ...]) -> Case:
    """The same, where the nodes under test end in `t`, of any shape."""
    return dense([*before, node("Tanh", "t", "u"), node("Flatten", "u", "f")], tensors, size)


def positive(before: list[onnx.NodeProto], tensors: dict[str, Any], size: tuple[int, ...]) -> Case:
    """The same as `flat`, where what comes in as `p` lies between 0.5 and 2.7."""
    return flat(
        [node("Exp", "h", "e"), node("Add", "e half", "p"), *before], {"half": np.float32(0.3), **tensors}, size
    )


def computed(graph: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    """What onnxruntime gives for the first output of a model as it was written."""
    import onnxruntime  # noqa: PLC0415 - after the variable is set

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def forward(graph: onnx.ModelProto, x: Array) -> Array:
    """The same for a model whose one input is x."""
    return computed(graph, {graph.graph.input[0].name: x})


def with_last(nodes: list[onnx.NodeProto], tensors: dict[str, Array], size: tuple[int, ...]) -> onnx.ModelProto:
    """Give the last layer the width that comes in, which onnxruntime tells."""
    graph = model(nodes[:-1], tensors, size)
    graph.graph.output[0].name = nodes[-2].output[0]
    found = forward(graph, weights(2, *size))
    return model(nodes, {**tensors, "last": weights(found.shape[-1], 3, seed=9)}, size)
