"""The models that need no file, with drawn weights: `linear`, `mlp:64,32`, `cnn:small`, `mobilenet:25`, `gru:64`, ...

Differentiates nothing.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes import initial, reference
from quantize.gru import gru
from quantize.mobilenet import mobilenet
from quantize.network import IR_VERSION, OPSET

Floats = npt.NDArray[np.float32]

CNNS = {"cnn:small": (8, 16, 32), "cnn:medium": (16, 32, 128)}
"""Filters of the two blocks, and hidden units."""
SMALLEST_IMAGE = 8
ROOMY_IMAGE = 16
"""From this size on a `cnn` gives away the border; smaller images are padded."""


def build_model(name: str, input_shape: tuple[int, ...], outputs: int, entropy: Entropy) -> onnx.ModelProto:
    """Return a model with initial weights as ONNX.

    Args:
        name: `linear`, `mlp:64,32`, `cnn:small`, `cnn:medium`, `mobilenet:25` or `gru:64`.
        input_shape: one row's; (channels, height, width) for `cnn` and `mobilenet`, (steps, features) for `gru`.
        outputs: width of the last layer.
        entropy: where the weights come from; `linear` and `mlp` draw the same ones as `accord.runtimes.reference`.

    Raises:
        UsageError: the name is unknown, or the shape does not suit the model.
    """
    if outputs < 1:
        raise UsageError(f"a model can't have {outputs} outputs: at least 1 is needed")
    tensors: Mapping[str, npt.NDArray[Any]]
    if name in CNNS:
        nodes, tensors = _cnn(name, input_shape, outputs, entropy)
    elif name.startswith("mobilenet:"):
        nodes, tensors = mobilenet(name, input_shape, outputs, entropy)
    elif name.startswith("gru:"):
        nodes, tensors = gru(name, input_shape, outputs, entropy)
    else:
        tensors = initial.dense_stack(reference.widths(name, input_shape, outputs), entropy)
        nodes = _dense([] if len(input_shape) == 1 else ["Flatten"], "x", len(tensors) // 2)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "forward",
        [helper.make_tensor_value_info("x", kind, ["N", *input_shape])],
        [helper.make_tensor_value_info("outputs", kind, ["N", outputs])],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _dense(before: list[str], source: str, layers: int) -> list[onnx.NodeProto]:
    """Return operators of `before`, then `layers` dense layers with ReLU between, ending in `outputs`."""
    make, nodes = onnx.helper.make_node, []
    for operator in before:
        nodes.append(make(operator, [source], [operator.lower()], name=operator.lower()))
        source = operator.lower()
    for layer in range(1, layers + 1):
        target = "outputs" if layer == layers else f"dense{layer}"
        weights = [f"dense{layer}.weight", f"dense{layer}.bias"]
        nodes.append(make("Gemm", [source, *weights], [target], name=f"dense{layer}"))
        source = target
        if layer < layers:
            nodes.append(make("Relu", [source], [f"relu{layer}"], name=f"relu{layer}"))
            source = f"relu{layer}"
    return nodes


def _cnn(
    name: str,
    input_shape: tuple[int, ...],
    outputs: int,
    entropy: Entropy,
) -> tuple[list[onnx.NodeProto], Mapping[str, Floats]]:
    """Two blocks of 3x3 convolution, 2x2 maximum and ReLU, then a hidden layer.

    For 1x28x28 and 10 outputs `cnn:small` has 14,410 parameters and `cnn:medium` 108,618.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST_IMAGE:
        raise UsageError(f"{name} takes images: --input-shape channels,height,width of {SMALLEST_IMAGE} or more")
    make, tensors = onnx.helper.make_node, {}
    nodes, source = [], "x"
    channels, *sizes = input_shape
    border = 0 if min(sizes) >= ROOMY_IMAGE else 1
    *blocks, hidden = CNNS[name]
    for block, filters in enumerate(blocks, 1):
        weight, bias = f"conv{block}.weight", f"conv{block}.bias"
        shape = (filters, channels, 3, 3)
        tensors[weight] = initial.he(shape, channels * 9, entropy.child("initial", weight))
        tensors[bias] = np.zeros(filters, np.float32)
        # The maximum comes before the ReLU: the same numbers from a quarter of the work, forwards and backwards.
        steps = [f"conv{block}", f"pool{block}", f"active{block}"]
        nodes += [
            make("Conv", [source, weight, bias], [steps[0]], name=steps[0], kernel_shape=[3, 3], pads=[border] * 4),
            make("MaxPool", [steps[0]], [steps[1]], name=steps[1], kernel_shape=[2, 2], strides=[2, 2]),
            make("Relu", [steps[1]], [steps[2]], name=steps[2]),
        ]
        source, channels = steps[2], filters
        sizes = [(size - 2 + 2 * border) // 2 for size in sizes]
    tensors.update(initial.dense_stack((channels * sizes[0] * sizes[1], hidden, outputs), entropy))
    return nodes + _dense(["Flatten"], source, 2), tensors
