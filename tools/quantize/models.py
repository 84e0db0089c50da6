"""What a person called a model, read: a built-in one by its name, or an ONNX file. Trains and rounds nothing."""

from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import numpy_helper

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes.losses import LOSSES
from quantize.builders import build_model
from quantize.network import IR_VERSION, OPSET, Network, read_network

BUILT_IN = ("linear", "mlp:", "cnn:", "mobilenet:", "gru:")
EXAMPLES = ("linear", "mlp:64,32", "cnn:small", "cnn:medium", "mobilenet:25", "gru:64")
FILE = "onnx"
"""What a manifest calls a model that came from a file."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A float model ready to differentiate, what the manifest calls it, and the shape of one row."""

    kind: str
    input_shape: tuple[int, ...]
    network: Network

    @property
    def pretrained(self) -> bool:
        """Whether it came with weights of its own, from a file; built-in models have drawn ones."""
        return self.kind == FILE


def read_model(
    model: str, input_shape: tuple[int, ...] | None, outputs: int | None, loss: str, entropy: Entropy
) -> Source:
    """Return the model that `model` names.

    Args:
        model: a built-in model, or the path of an ONNX file.
        input_shape: one row's; None takes it from the file.
        outputs: classes, or values per row; None takes it from the file.
        loss: softmax, binary, mse or huber.
        entropy: initial weights of a built-in model.

    Raises:
        UsageError: the model can't be read or built, or does not say its shape.
    """
    if loss not in LOSSES:
        raise UsageError(f"loss {loss!r} is unknown: use one of {', '.join(LOSSES)}")
    path = Path(model)
    if path.suffix == ".onnx":
        try:
            loaded = onnx.load(path)
        except Exception as error:  # protobuf's own errors, and the operating system's
            raise UsageError(f"{model} can't be read as an ONNX model: {str(error)[:300]}") from error
        kind, shape = FILE, _stated_shape(loaded) if input_shape is None else input_shape
    elif path.is_file():
        raise UsageError(
            f"{model} is no ONNX file by its name: a model ends in .onnx, and a training bundle is ready as it is"
        )
    else:
        if not model.startswith(BUILT_IN):
            raise UsageError(f"model {model!r} is unknown: use {', '.join(EXAMPLES)}, or the path of an .onnx file")
        missing = [name for name, value in (("--input-shape", input_shape), ("--outputs", outputs)) if value is None]
        if missing or input_shape is None or outputs is None:
            raise UsageError(f"{model} comes from no file, so it needs {' and '.join(missing)}")
        loaded, kind, shape = build_model(model, input_shape, outputs, entropy), model, input_shape
    network = read_network(loaded, shape, loss)
    if outputs is not None and network.outputs != outputs:
        raise UsageError(f"the model has {network.outputs} outputs, not {outputs}: say --outputs {network.outputs}")
    return Source(kind=kind, input_shape=shape, network=network)


def onnx_model(network: Network, *outputs: str) -> onnx.ModelProto:
    """Return the float model as ONNX, for any number of rows; its outputs are `outputs`, or the network's own."""
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        list(network.nodes),
        "forward",
        [helper.make_tensor_value_info(network.x, network.x_type, ["N", *network.shapes[network.x][1:]])],
        [helper.make_tensor_value_info(name, kinds.FLOAT, None) for name in outputs or (network.output,)],
        [numpy_helper.from_array(value, name) for name, value in {**network.constants, **network.params}.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _stated_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return the shape of one row as the file states it."""
    constants = {item.name for item in model.graph.initializer}
    given = [item for item in model.graph.input if item.name not in constants]
    if len(given) != 1:
        raise UsageError(
            f"the model has inputs {[item.name for item in given]}: a training bundle needs a model with one input"
        )
    _, *dims = given[0].type.tensor_type.shape.dim or [None]
    if not dims or any(dim.dim_value < 1 for dim in dims):
        words = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims) or "nothing"
        raise UsageError(
            f"the model leaves the shape of a row open (its input {given[0].name!r} states {words} behind the batch): "
            "say it with --input-shape"
        )
    return tuple(dim.dim_value for dim in dims)
