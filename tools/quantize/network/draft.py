"""A model while it is made ready: nodes and constants that the steps of `read_network` change in place."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import onnx
from onnx import numpy_helper

from accord.errors import UsageError

OPSET = 20
IR_VERSION = 9

Shape = tuple[int | None, ...]
Array = npt.NDArray[Any]

BATCHES = (7, 11)
"""Numbers of rows for which shapes are worked out: what differs between the two grows with the batch."""


@dataclass(kw_only=True)
class Draft:
    """Nodes in order, constants by name, and which of them may be weights; `input_shape` is one row's of `x`.

    `traced` is the number of rows that the exporter fixed, 0 where it left the batch open; `filled` are tensors that
    hold one number everywhere, however many rows there are.
    """

    nodes: list[onnx.NodeProto]
    constants: dict[str, Array]
    weights: set[str]
    x: str
    x_kind: int
    output: str
    input_shape: tuple[int, ...]
    traced: int = 0
    notes: list[str] = field(default_factory=list)
    filled: dict[str, float] = field(default_factory=dict)

    def taken(self) -> set[str]:
        """Return every name that stands for a tensor."""
        return {self.x, *self.constants, *(name for node in self.nodes for name in (*node.input, *node.output))}

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that take `name`."""
        return [node for node in self.nodes if name in node.input]

    def keep_needed(self) -> None:
        """Drop the nodes that the output does not need."""
        wanted, kept = {self.output}, []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What shape inference found for one number of rows: shapes without open dimensions, and element types."""

    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, int]


def sizes(
    draft: Draft, nodes: list[onnx.NodeProto], constants: Mapping[str, Array], batch: int, *, strict: bool = True
) -> Sizes:
    """Infer the shapes of all tensors for `batch` rows, or of those that can be inferred where it is not strict.

    Raises:
        UsageError: the model does not fit rows of the draft's shape.
    """
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "forward",
        [
            helper.make_tensor_value_info(draft.x, draft.x_kind, [batch, *draft.input_shape]),
            *(_described(name, value) for name, value in constants.items() if value.size > _LARGE),
        ],
        [helper.make_tensor_value_info(draft.output, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if value.size <= _LARGE],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        advice = "export the model with an open batch dimension" if draft.traced else "is --input-shape right?"
        raise UsageError(
            f"the model does not fit rows of shape {draft.input_shape}: {str(error)[:300]}; {advice}"
        ) from error
    shapes = {name: value.shape for name, value in constants.items()}
    kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in constants.items()}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        tensor = info.type.tensor_type
        kinds[info.name] = tensor.elem_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[info.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return Sizes(batch=batch, shapes=shapes, kinds=kinds)


_LARGE = 4_096
"""Elements from which on a constant is only described to shape inference: its numbers decide no shape."""


def _described(name: str, value: Array) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, list(value.shape))


def merged(one: Sizes, other: Sizes) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the shapes that two numbers of rows share, None for a dimension that differs, and the element types."""
    shapes: dict[str, Shape] = {}
    for name, first in one.shapes.items():
        second = other.shapes.get(name)
        if second is not None and len(first) == len(second):
            shapes[name] = tuple(a if a == b else None for a, b in zip(first, second, strict=True))
    return shapes, dict(one.kinds)


def shapes_of(  # noqa: PLR0917 - a model in the order in which it is read
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    x: str,
    input_shape: tuple[int | None, ...],
    output: str,
    x_type: int = onnx.TensorProto.FLOAT,
) -> dict[str, Shape]:
    """Return every shape that can be inferred, None for a dimension that grows with the batch.

    Raises:
        UsageError: the nodes do not fit rows of this shape.
    """
    draft = Draft(
        nodes=list(nodes),
        constants=dict(constants),
        weights=set(),
        x=x,
        x_kind=x_type,
        output=output,
        input_shape=tuple(int(dim or 0) for dim in input_shape),
    )
    one, other = (sizes(draft, draft.nodes, draft.constants, batch) for batch in BATCHES)
    return merged(one, other)[0]


def cells(shape: tuple[int, ...]) -> int:
    """Return the number of elements."""
    return math.prod(shape)
