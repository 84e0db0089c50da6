"""A forward model made ready to differentiate: plain nodes in order, its trainable tensors, every shape.

Shapes hold None where a dimension is the batch or is not known before a model runs.
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

OPSET = 20
IR_VERSION = 9

Shape = tuple[int | None, ...]
Array = npt.NDArray[Any]

_WEIGHED = frozenset({"Gemm", "Conv", "MatMul", "Add"})
"""Operators whose constants are weights even where they have one element."""
_PASSED_THROUGH = frozenset({"Identity", "Dropout"})
_LAST = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "binary"}
"""Operators that a loss has inside: a model that ends with one is trained on what goes into it."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model of one input and one output.

    `nodes` are in topological order and all needed for `output`; `params` are the float32 tensors to train, in order of
    first use; `constants` are all others; `notes` are sentences about what was left out; `x_type` is the element type
    of the input, int8 where a frozen part stands before.
    """

    nodes: tuple[onnx.NodeProto, ...]
    params: Mapping[str, Array]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    x: str
    output: str
    notes: tuple[str, ...]
    x_type: int = onnx.TensorProto.FLOAT

    @property
    def outputs(self) -> int:
        """Number of values per row."""
        last = self.shapes[self.output][-1]
        assert last is not None
        return last


def read_network(model: onnx.ModelProto, input_shape: tuple[int, ...], loss: str) -> Network:
    """Return the network of an ONNX model.

    Args:
        model: one float32 input (batch, ...), one output (batch, outputs).
        input_shape: one row's, without the batch.
        loss: a last Softmax or Sigmoid that the loss has inside is taken off.

    Raises:
        UsageError: the model has another form, or is not valid ONNX.
    """
    model = _at_opset(model)
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    inputs = [item.name for item in graph.input if item.name not in constants]
    if len(inputs) != 1 or len(graph.output) < 1:
        raise UsageError(f"the model has inputs {inputs}: a training bundle needs a model with one input")
    x = inputs[0]
    nodes, aliases = _plain_nodes(graph, constants)
    output, notes = _without_last(nodes, aliases.get(graph.output[0].name, graph.output[0].name), loss)
    shapes = shapes_of(nodes, constants, x, input_shape, output)
    while _fix_reshapes(nodes, constants, shapes):
        shapes = shapes_of(nodes, constants, x, input_shape, output)
    nodes = _needed(nodes, output)
    params = _trainable(nodes, constants)
    if not params:
        raise UsageError("the model has no float32 weights to train")
    shape = shapes.get(output, ())
    if len(shape) != 2 or shape[1] is None:
        raise UsageError(f"the model's output has shape {shape}: (batch, outputs) is needed")
    used = {name for node in nodes for name in node.input}
    kept = {name: value for name, value in constants.items() if name in used and name not in params}
    return Network(
        nodes=tuple(nodes),
        params=params,
        constants=kept,
        shapes=shapes,
        x=x,
        output=output,
        notes=tuple(notes),
    )


def _at_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise UsageError(
                f"node {node.name or node.output[0]!r}: operator {node.op_type} of {node.domain} is not plain ONNX: "
                "export the model without it"
            )
    version = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    try:
        onnx.checker.check_model(model)
        return model if version == OPSET else onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the checker and the converter raise classes of their own and RuntimeError
        raise UsageError(f"the model can't be read as ONNX opset {OPSET}: {str(error)[:300]}") from error


def _plain_nodes(graph: onnx.GraphProto, constants: dict[str, Array]) -> tuple[list[onnx.NodeProto], dict[str, str]]:
    """Return the nodes without Constant, Identity and Dropout, and the names that stand for others."""
    nodes: list[onnx.NodeProto] = []
    aliases: dict[str, str] = {}
    for original in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        for place, name in enumerate(node.input):
            node.input[place] = aliases.get(name, name)
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant_value(node)
        elif node.op_type in _PASSED_THROUGH:
            aliases[node.output[0]] = node.input[0]
        else:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            node.name = node.name or f"{node.op_type}_{len(nodes)}"
            nodes.append(node)
    return nodes, aliases


def _constant_value(node: onnx.NodeProto) -> Array:
    for item in node.attribute:
        if item.name == "value":
            return numpy_helper.to_array(item.t)
        if item.name in ("value_float", "value_floats"):
            return np.array(onnx.helper.get_attribute_value(item), np.float32)
        if item.name in ("value_int", "value_ints"):
            return np.array(onnx.helper.get_attribute_value(item), np.int64)
    raise UsageError(f"constant {node.output[0]!r} holds no numbers")


def _without_last(nodes: list[onnx.NodeProto], output: str, loss: str) -> tuple[str, list[str]]:
    last = next((node for node in nodes if output in node.output), None)
    if last is None:
        raise UsageError("the model's output is computed by no node")
    if _LAST.get(last.op_type) == loss:
        nodes.remove(last)
        note = (
            f"the last {last.op_type} was taken off: loss {loss} has it inside, and the outputs are what goes into it"
        )
        return last.input[0], [note]
    return output, []


def shapes_of(  # noqa: PLR0917 - a model in the order in which it is read
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    x: str,
    input_shape: tuple[int | None, ...],
    output: str,
    x_type: int = onnx.TensorProto.FLOAT,
) -> dict[str, Shape]:
    """Return every shape that can be inferred, for a batch of unknown size.

    Raises:
        UsageError: the nodes do not fit rows of this shape.
    """
    helper = onnx.helper
    graph = helper.make_graph(
        list(nodes),
        "forward",
        [helper.make_tensor_value_info(x, x_type, ["N", *input_shape])],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise UsageError(f"the model does not fit rows of shape {input_shape}: {str(error)[:300]}") from error
    shapes: dict[str, Shape] = {name: value.shape for name, value in constants.items()}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape"):
            shapes[info.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    return shapes


def _fix_reshapes(nodes: list[onnx.NodeProto], constants: dict[str, Array], shapes: Mapping[str, Shape]) -> bool:
    """Give each Reshape a constant target whose first dimension follows the batch; tell whether one was changed.

    Exporters compute the target from the shape of x, or write the batch that they traced into it.
    """
    changed = False
    for node in nodes:
        name = f"{node.output[0]}/target"
        if node.op_type != "Reshape" or node.input[1] == name:
            continue
        before = shapes.get(node.input[0])
        after = shapes.get(node.output[0])
        if before is None or after is None or not after or before[:1] != (None,):
            continue
        cells = math.prod(dim or 0 for dim in before[1:])
        known = math.prod(dim for dim in after[1:] if dim is not None)
        rest = [cells // known if dim is None else dim for dim in after[1:]]
        if not cells or math.prod(rest) != cells:
            raise UsageError(f"Reshape {node.name!r} mixes the rows of a batch: {before} becomes {after}")
        constants[name] = np.array([-1, *rest], np.int64)
        node.input[1] = name
        changed = True
    return changed


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Return the nodes that `output` depends on, in order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _trainable(nodes: list[onnx.NodeProto], constants: Mapping[str, Array]) -> dict[str, Array]:
    """Return the float32 initialisers that are weights: not single numbers, not statistics, in order of use."""
    params: dict[str, Array] = {}
    for node in nodes:
        for place, name in enumerate(node.input):
            value = constants.get(name)
            if value is None or value.dtype != np.float32:
                continue
            frozen = node.op_type == "BatchNormalization" and place > 2
            weight = value.size > 1 or (node.op_type in _WEIGHED and value.ndim)
            if weight and not frozen:
                params[name] = value
    return params
