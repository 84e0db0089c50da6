"""Each rule against finite differences in float64 of the ONNX project's reference, and against onnxruntime."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from quantize.differentiate.backward import training_graph
from quantize.differentiate.registry import known_operators
from quantize.network import read_network
from quantize.oracle import exact

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Array = npt.NDArray[Any]


def weights(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Array:
    return np.random.default_rng((seed, *shape)).uniform(low, high, shape).astype(np.float32)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), output.split(), name=f"the_{operator}_{output}", **attributes)


def model(nodes: list[onnx.NodeProto], tensors: dict[str, Array], input_shape: tuple[int, ...]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", *input_shape])],
        [helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, ["N", "K"])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def conv_case(size: tuple[int, ...], filters: tuple[int, ...], **attributes: Any) -> Any:
    """Two convolutions, so that both dX and dW count, then a linear layer with as many inputs as come out."""
    channels = size[0]
    rank = len(size) - 1
    first = weights(channels, channels, *[1] * rank, seed=1)
    nodes = [
        node("Conv", "x first", "a"),
        node("Conv", "a w b", "c", **attributes),
        node("Tanh", "c", "t"),
        node("Flatten", "t", "f"),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"first": first, "w": weights(*filters), "b": weights(filters[0])}
    return nodes, tensors, size


def dense(before: list[onnx.NodeProto], tensors: dict[str, Array], size: tuple[int, ...]) -> Any:
    """A trainable first layer, then the nodes under test from `h` to `f`, then a linear layer."""
    return (
        [node("Mul", "x scale", "h"), *before, node("MatMul", "f last", "o")],
        {
            "scale": weights(*size, seed=5, low=0.5, high=1.5),
            **tensors,
        },
        size,
    )


def with_last(nodes: list[onnx.NodeProto], tensors: dict[str, Array], size: tuple[int, ...]) -> onnx.ModelProto:
    """Give the last layer the width that comes in, which the oracle tells."""
    graph = model(nodes[:-1], tensors, size)
    graph.graph.output[0].name = nodes[-2].output[0]
    (found,) = exact(graph, [nodes[-2].output[0]], {"x": weights(2, *size)})
    return model(nodes, {**tensors, "last": weights(found.shape[-1], 3, seed=9)}, size)


def pool(operator: str, **attributes: Any) -> Any:
    return dense([node(operator, "h", "p", **attributes), node("Flatten", "p", "f")], {}, (2, 7, 6))


def unary(operator: str, **attributes: Any) -> Any:
    return dense([node(operator, "h", "f", **attributes)], {}, (6,))


CASES: dict[str, Any] = {
    "Gemm": dense([node("Gemm", "h w b", "f")], {"w": weights(5, 4), "b": weights(4)}, (5,)),
    "Gemm transB alpha beta": dense(
        [node("Gemm", "h w b", "f", transB=1, alpha=0.5, beta=2.0)], {"w": weights(4, 5), "b": weights(1, 4)}, (5,)
    ),
    "Gemm transA": dense([node("Transpose", "h", "s"), node("Gemm", "s w", "f", transA=1)], {"w": weights(5, 4)}, (5,)),
    "Gemm transA transB": dense(
        [node("Transpose", "h", "s"), node("Gemm", "s w", "f", transA=1, transB=1)], {"w": weights(4, 5)}, (5,)
    ),
    "Gemm by weights first": dense(
        [node("Transpose", "h", "s"), node("Gemm", "w s", "t"), node("Transpose", "t", "f")],
        {"w": weights(4, 5)},
        (5,),
    ),
    "MatMul": dense([node("MatMul", "h w", "f")], {"w": weights(5, 4)}, (5,)),
    "MatMul of rows of matrices": dense(
        [node("MatMul", "h w", "m"), node("Flatten", "m", "f")], {"w": weights(4, 2)}, (3, 4)
    ),
    "MatMul by a stack": dense(
        [node("MatMul", "h w", "m"), node("Flatten", "m", "f")], {"w": weights(3, 4, 2)}, (3, 5, 4)
    ),
    "MatMul with itself": dense(
        [node("Transpose", "h", "s", perm=[0, 2, 1]), node("MatMul", "h s", "m"), node("Flatten", "m", "f")], {}, (3, 4)
    ),
    "MatMul weights left": dense([node("MatMul", "w h", "m"), node("Flatten", "m", "f")], {"w": weights(2, 3)}, (3, 4)),
    "Add broadcast": dense([node("Add", "b h", "m"), node("Flatten", "m", "f")], {"b": weights(3, 1)}, (3, 4)),
    "Add itself": dense([node("Add", "h h", "f")], {}, (4,)),
    "Sub": dense([node("Sub", "h b", "s"), node("Sub", "b s", "f")], {"b": weights(4)}, (4,)),
    "Mul": dense([node("Mul", "h b", "s"), node("Mul", "s h", "f")], {"b": weights(1, 4)}, (4,)),
    "Div": dense([node("Div", "h b", "s"), node("Div", "b s", "f")], {"b": weights(4, low=1.0, high=2.0)}, (4,)),
    "Relu": unary("Relu"),
    "LeakyRelu": unary("LeakyRelu", alpha=0.2),
    "Sigmoid": unary("Sigmoid"),
    "Tanh": unary("Tanh"),
    "Softmax": unary("Softmax", axis=1),
    "Softmax inner axis": dense([node("Softmax", "h", "s", axis=1), node("Flatten", "s", "f")], {}, (3, 4)),
    "Clip": dense([node("Clip", "h low high", "f")], {"low": np.float32(-0.3), "high": np.float32(0.4)}, (6,)),
    "Clip one side": dense([node("Clip", "h low", "f")], {"low": np.float32(-0.3)}, (6,)),
    "Flatten": dense([node("Flatten", "h", "f")], {}, (2, 3)),
    "Reshape": dense(
        [node("Reshape", "h to", "r"), node("Flatten", "r", "f")], {"to": np.array([0, 3, 2], np.int64)}, (2, 3)
    ),
    "Reshape with the traced batch": dense([node("Reshape", "h to", "f")], {"to": np.array([-1, 6], np.int64)}, (2, 3)),
    "Squeeze and Unsqueeze": dense(
        [node("Unsqueeze", "h axes", "u"), node("Squeeze", "u axes", "f")], {"axes": np.array([1], np.int64)}, (4,)
    ),
    "Transpose": dense(
        [node("Transpose", "h", "s", perm=[0, 3, 1, 2]), node("Tanh", "s", "t"), node("Flatten", "t", "f")],
        {},
        (2, 3, 4),
    ),
    "Conv": conv_case((2, 6, 5), (3, 2, 3, 3)),
    "Conv strides that leave cells": conv_case((2, 8, 7), (3, 2, 3, 2), strides=[2, 3]),
    "Conv pads": conv_case((2, 5, 5), (3, 2, 3, 3), pads=[1, 2, 0, 1]),
    "Conv dilations": conv_case((2, 8, 9), (2, 2, 3, 2), dilations=[2, 3], strides=[1, 2], pads=[1, 1, 1, 1]),
    "Conv groups": conv_case((4, 6, 6), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    "Conv depthwise": conv_case((3, 7, 7), (3, 1, 3, 3), group=3, strides=[2, 2], pads=[1, 1, 1, 1]),
    "Conv many channels": conv_case((20, 5, 5), (4, 20, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    "Conv 1x1": conv_case((3, 4, 4), (5, 3, 1, 1)),
    "Conv 1x1 strides": conv_case((3, 5, 4), (5, 3, 1, 1), strides=[2, 2]),
    "Conv of sequences": conv_case((3, 12), (4, 3, 5), strides=[2], pads=[2, 1], dilations=[2]),
    "Conv same": conv_case((2, 5, 6), (2, 2, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    "Conv same lower": conv_case((2, 5, 6), (2, 2, 3, 2), auto_pad="SAME_LOWER", strides=[2, 1]),
    "MaxPool": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool with gaps": pool("MaxPool", kernel_shape=[2, 2], strides=[3, 2]),
    "MaxPool overlapping": pool("MaxPool", kernel_shape=[3, 2], strides=[1, 1]),
    "MaxPool pads": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool": pool("AveragePool", kernel_shape=[2, 3], strides=[2, 1]),
    "AveragePool pads": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "AveragePool pads counted": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "GlobalAveragePool": pool("GlobalAveragePool"),
    "BatchNormalization": dense(
        [node("BatchNormalization", "h s b mean var", "n"), node("Flatten", "n", "f")],
        {"s": weights(2), "b": weights(2, seed=2), "mean": weights(2, seed=3), "var": weights(2, low=0.5, high=2.0)},
        (2, 3, 3),
    ),
}


def test_every_rule_has_a_case() -> None:
    covered = {n.op_type for nodes, _, _ in CASES.values() for n in nodes}
    # tests/quantize/test_straight_through.py has those that finite differences can't see.
    assert set(known_operators()) - {"QuantizeLinear", "DequantizeLinear", "Pow"} <= covered


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *((name, "softmax") for name in CASES),
        *((name, loss) for name in ("Gemm", "Conv") for loss in ("binary", "mse", "huber")),
    ],
)
def test_gradients(name: str, loss: str) -> None:
    import onnxruntime  # noqa: PLC0415 - after the variable is set

    nodes, tensors, size = CASES[name]
    network = read_network(with_last(nodes, tensors, size), size, loss)
    graph = training_graph(network, loss)
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (3, *size)).astype(np.float32)
    y: Array = rng.integers(0, 3, 3) if loss == "softmax" else rng.integers(0, 2, (3, 3)).astype(np.float32)
    counted = np.array([1.0, 0.5, 2.0], np.float32)
    feeds = {**dict(zip(graph.input_names[:3], (x, y, counted), strict=True)), **network.params}

    precise = exact(graph.model, graph.output_names, feeds)
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    quick = session.run(list(graph.output_names), feeds)
    assert quick[0] == pytest.approx(float(precise[0]), rel=1e-5)
    assert quick[2] == pytest.approx(float(precise[2]), rel=1e-5)
    for weight, fast, slow in zip(network.params, quick[3:], precise[3:], strict=True):
        assert fast.shape == network.params[weight].shape
        assert np.abs(fast - slow).max() <= 1e-5 * np.abs(slow).max(), f"{weight} in onnxruntime"

    wide = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in feeds.items()}
    for weight, slow in zip(network.params, precise[3:], strict=True):
        # Differences along random directions: one number per direction tests every element at once.
        for seed in range(3):
            direction = np.random.default_rng(seed).standard_normal(slow.shape)
            ends = []
            for sign in (1, -1):
                moved = {**wide, weight: wide[weight] + sign * 1e-6 * direction}
                ends.append(float(exact(graph.model, graph.output_names[:1], moved)[0]))
            along = float((slow * direction).sum())
            scale = np.abs(slow).max() * np.sqrt(slow.size)
            assert abs((ends[0] - ends[1]) / 2e-6 - along) <= 1e-5 * scale, f"{weight} by differences"
