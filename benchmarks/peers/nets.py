"""The networks that are timed: each a list of layers and their weights, from which every side builds the same model.

A layer is a list: its kind, the name of its weights ("" for none), then its settings. Weights have ONNX's layout.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from accord.entropy import SeededEntropy
from quantize.builders import build_model
from quantize.network import IR_VERSION, OPSET

Array = npt.NDArray[np.float32]
Layer = list[Any]
NAMES = ("mlp", "cnn", "mobilenet", "gru")
STEPS, FEATURES, HIDDEN = 49, 40, 64


@dataclass(frozen=True, kw_only=True)
class Net:
    input_shape: tuple[int, ...]
    outputs: int
    batch: int
    layers: list[Layer]
    weights: dict[str, Array]


class _Writer:
    """Layers as they are added, with weights after He et al. 2015: zero biases, variance 2 / fan-in."""

    def __init__(self, seed: int) -> None:
        self.layers: list[Layer] = []
        self.weights: dict[str, Array] = {}
        self._rng = np.random.default_rng(seed)

    def plain(self, kind: str) -> None:
        self.layers.append([kind, ""])

    def _drawn(self, name: str, shape: tuple[int, ...], fan_in: int) -> None:
        self.weights[f"{name}.weight"] = (self._rng.normal(size=shape) * (2 / fan_in) ** 0.5).astype(np.float32)

    def dense(self, name: str, inputs: int, outputs: int) -> None:
        self._drawn(name, (inputs, outputs), inputs)
        self.weights[f"{name}.bias"] = np.zeros(outputs, np.float32)
        self.layers.append(["dense", name])

    def conv(self, name: str, channels: int, filters: int, kernel: int, *, stride: int = 1, group: int = 1) -> None:
        self._drawn(name, (filters, channels // group, kernel, kernel), channels // group * kernel**2)
        self.weights[f"{name}.bias"] = np.zeros(filters, np.float32)
        self.layers.append(["conv", name, stride, kernel // 2, group])


def net(name: str) -> Net:
    """Return a network; `gru` is the built-in one, `mobilenet` MobileNetV1 at a quarter of the width, of ten blocks."""
    writer = _Writer(7)
    if name == "mlp":
        for place, (inputs, outputs) in enumerate(((784, 256), (256, 128), (128, 10)), 1):
            writer.dense(f"dense{place}", inputs, outputs)
            if place < 3:
                writer.plain("relu")
        shape, outputs, batch = (784,), 10, 32
    elif name == "cnn":
        for place, (channels, filters) in enumerate(((1, 16), (16, 32)), 1):
            writer.conv(f"conv{place}", channels, filters, 3)
            writer.plain("relu")
            writer.plain("maxpool")
        writer.plain("flatten")
        writer.dense("dense1", 32 * 7 * 7, 128)
        writer.plain("relu")
        writer.dense("dense2", 128, 10)
        shape, outputs, batch = (1, 28, 28), 10, 32
    elif name == "mobilenet":
        writer.conv("stem", 3, 8, 3, stride=2)
        writer.plain("relu6")
        channels = 8
        plan = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1))
        for place, (filters, stride) in enumerate(plan, 1):
            writer.conv(f"depth{place}", channels, channels, 3, stride=stride, group=channels)
            writer.plain("relu6")
            writer.conv(f"point{place}", channels, filters, 1)
            writer.plain("relu6")
            channels = filters
        writer.plain("average")
        writer.dense("head", channels, 10)
        shape, outputs, batch = (3, 96, 96), 10, 16
    else:
        shape, outputs, batch = (STEPS, FEATURES), 12, 16
        writer.layers += [["gru", "gru", HIDDEN], ["dense", "head"]]
        drawn = {item.name: numpy_helper.to_array(item) for item in built_in(shape, outputs).graph.initializer}
        writer.weights |= {name: value for name, value in drawn.items() if value.dtype == np.float32}
    return Net(input_shape=shape, outputs=outputs, batch=batch, layers=writer.layers, weights=writer.weights)


def built_in(shape: tuple[int, ...], outputs: int) -> onnx.ModelProto:
    return build_model(f"gru:{HIDDEN}", shape, outputs, SeededEntropy(7))


def as_onnx(found: Net) -> onnx.ModelProto:
    """Return the network as an ONNX model of any number of rows."""
    if found.layers[0][0] == "gru":
        return built_in(found.input_shape, found.outputs)
    nodes: list[onnx.NodeProto] = []
    tensors: dict[str, npt.NDArray[Any]] = dict(found.weights)

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(name: str, value: npt.ArrayLike, kind: npt.DTypeLike) -> str:
        tensors[name] = np.asarray(value, kind)
        return name

    at = "x"
    for kind, name, *settings in found.layers:
        pair = [f"{name}.weight", f"{name}.bias"]
        if kind == "dense":
            at = add("Gemm", [at, *pair])
        elif kind == "conv":
            stride, pad, group = settings
            kernel = list(found.weights[pair[0]].shape[2:])
            places = {"kernel_shape": kernel, "strides": [stride] * 2, "pads": [pad] * 4}
            at = add("Conv", [at, *pair], group=group, **places)
        elif kind == "relu":
            at = add("Relu", [at])
        elif kind == "relu6":
            at = add("Clip", [at, constant("zero", 0, np.float32), constant("six", 6, np.float32)])
        elif kind == "maxpool":
            at = add("MaxPool", [at], kernel_shape=[2, 2], strides=[2, 2])
        elif kind == "flatten":
            at = add("Flatten", [at])
        else:  # average
            at = add("Flatten", [add("GlobalAveragePool", [at])])
    nodes[-1].output[0] = "outputs"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "forward",
        [info("x", onnx.TensorProto.FLOAT, ["N", *found.input_shape])],
        [info("outputs", onnx.TensorProto.FLOAT, ["N", found.outputs])],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
