"""The steps from an exporter's model to a network, in their order."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from accord.errors import UsageError
from quantize.network.batch_norms import fold_batch_norms
from quantize.network.draft import BATCHES, Draft, Shape, Sizes, merged, sizes
from quantize.network.folding import fold
from quantize.network.network import Network
from quantize.network.opening import open_model, take_off_last
from quantize.network.recurrent import unroll
from quantize.network.windows import make_pads_explicit

Array = npt.NDArray[Any]

_WEIGHED = frozenset({"Gemm", "Conv", "ConvTranspose", "MatMul", "Add", "PRelu", "LayerNormalization"})
"""Operators whose constants are weights even where they have one element."""
_MULTIPLIES = frozenset({"Gemm", "Conv", "ConvTranspose", "MatMul"})
_SETTINGS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "Clip": (1, 2),
    "Pad": (2,),
    "Pow": (1,),
    "Resize": (1, 2),
    "QuantizeLinear": (0, 1),
    "DequantizeLinear": (1,),
}
"""Inputs that decide what an operator does, which no exporter writes weights into."""
_CARRIES_IDS = frozenset(
    {"Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Concat", "Expand"}
)


def read_network(
    model: onnx.ModelProto, input_shape: tuple[int, ...], loss: str, *, fold_norms: bool = True
) -> Network:
    """Return the network of an ONNX model.

    Args:
        model: opset 13 or later; one float32 or integer input (batch, ...), one float32 output (batch, outputs).
        input_shape: one row's, without the batch.
        loss: a last Softmax or Sigmoid that the loss has inside is taken off.
        fold_norms: fold a BatchNormalization into the layer before it, where it can be; else its scale and offset are
            trained, with its statistics frozen.

    Raises:
        UsageError: the model has another form, or is not valid ONNX.
    """
    draft = open_model(model, input_shape)
    take_off_last(draft, loss)
    draft.keep_needed()
    make_pads_explicit(draft)
    found, _ = fold(draft)
    make_pads_explicit(draft)
    draft.keep_needed()
    unroll(draft, found)
    draft.keep_needed()
    if fold_norms:
        fold_batch_norms(draft)
    ids = _ids(draft)
    _take_floats(draft)
    one, other = (sizes(draft, draft.nodes, draft.constants, batch) for batch in BATCHES)
    shapes, kinds = merged(one, other)
    _check_rows(draft, one, other, shapes)
    params = _trainable(draft)
    if not params:
        raise UsageError("the model has no float32 weights to train")
    used = {name for node in draft.nodes for name in node.input}
    return Network(
        nodes=tuple(draft.nodes),
        params=params,
        constants={name: value for name, value in draft.constants.items() if name in used and name not in params},
        shapes=shapes,
        kinds=kinds,
        x=draft.x,
        output=draft.output,
        ids=ids,
        notes=tuple(draft.notes),
    )


def _check_rows(draft: Draft, one: Sizes, other: Sizes, shapes: Mapping[str, Shape]) -> None:
    """Refuse an output that is not one row for each row of x."""
    rows = [found.shapes.get(draft.output, (0,))[:1] for found in (one, other)]
    shape = shapes.get(draft.output)
    if rows == [(one.batch,), (other.batch,)] and shape is not None and len(shape) == 2 and shape[1] is not None:
        return
    for node in draft.nodes:
        before, after = ([f.shapes.get(name, ())[:1] for f in (one, other)] for name in (node.input[0], node.output[0]))
        if node.op_type == "Reshape" and before == [(one.batch,), (other.batch,)] != after and len(shape or ()) == 2:
            raise UsageError(
                f"Reshape {node.name!r} mixes the rows of a batch: "
                f"{shapes.get(node.input[0])} becomes {shapes.get(node.output[0])}"
            )
    raise UsageError(f"the model's output has shape {shape}: (batch, outputs) is needed")


def _trainable(draft: Draft) -> dict[str, Array]:
    """Return the float32 initialisers that are weights: not single numbers, not statistics, in order of use."""
    params: dict[str, Array] = {}
    settings = {
        name for node in draft.nodes for i, name in enumerate(node.input) if i in _SETTINGS.get(node.op_type, ())
    }
    for node in draft.nodes:
        for name in node.input:
            value = draft.constants.get(name)
            if value is None or name not in draft.weights or name in settings or not np.isfinite(value).all():
                continue
            if value.size > 1 or (node.op_type in _WEIGHED and value.ndim and _is_bias(draft, node)):
                params[name] = value
    return params


def _is_bias(draft: Draft, node: onnx.NodeProto) -> bool:
    """Tell whether a node with one number in it is no Add, or adds it to products: else it is part of a formula."""
    products = {name for other in draft.nodes if other.op_type in _MULTIPLIES for name in other.output}
    return node.op_type != "Add" or bool(products & set(node.input))


def _take_floats(draft: Draft) -> None:
    """Let a model of integers take float32 rows, as runtimes hand them over: ids up to 2^24 are exact in them."""
    if draft.x_kind == TensorProto.FLOAT:
        return
    name = "rows"
    while name in draft.taken():
        name += "_"
    draft.nodes.insert(0, onnx.helper.make_node("Cast", [name], [draft.x], name="ids", to=draft.x_kind))
    draft.x, draft.x_kind = name, TensorProto.FLOAT


def _ids(draft: Draft) -> int:
    """Return the length of the smallest table that x, or a part of it, indexes; 0 if it indexes none."""
    found: list[int] = []
    names = deque([draft.x])
    seen = set(names)
    while names:
        name = names.popleft()
        for node in draft.readers(name):
            if node.op_type == "Gather" and node.input[1] == name:
                table = draft.constants.get(node.input[0])
                axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
                found += [table.shape[axis]] if table is not None else []
            elif node.op_type in _CARRIES_IDS or node.op_type == "Gather":
                names.extend(output for output in node.output if output not in seen)
                seen.update(node.output)
    if draft.x_kind != TensorProto.FLOAT:
        return min(found, default=2)
    return min(found, default=0)
