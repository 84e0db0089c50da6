"""Rows and parameters at which no rounding hangs by a hair: there every right runtime rounds alike. Tests none.

A value that lies between two int8 steps within the error of float32 goes to either; in a deep net the step that it is
off moves thousands of others. Golden vectors are taken where none does: biases, a few weights and the rows are moved by
less than a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from accord.bundle.quantization import Slot
from accord.bundle.rounding import LEAST_SCALE, weight_scales
from accord.runtimes.onnx import session
from quantize.network import IR_VERSION, OPSET, Network

WEIGHT_MARGIN = 1e-3
"""Steps that a weight and an element of a row is kept from the middle of two steps."""
UNSETTLED = 1 / 8
"""What is added to the base-2 logarithm of a trained scale."""
SHIFTS = 64
"""Biases are tried at so many places within one step: the best of them has a third of the margin that there can be."""
ENOUGH = 1e-3
"""Steps that an activation is kept off an edge, where there is such a place: thirty times what runtimes differ by."""
AT_ONCE = 1 << 18
"""Elements of one tensor that are worked out at once: what fits into a core's cache."""
_BENT = ("Relu", "Clip", "LeakyRelu")

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Parameters and rows that are `margin` of a step or more away from the next place where a rounding turns.

    `margin` is of the activations that a bias could be moved for; infinite where there are none.
    """

    params: Mapping[str, Array]
    x: Array
    margin: float


@dataclass(frozen=True, kw_only=True)
class _Lever:
    """A bias whose channels can be moved.

    `source` is what it is added into, `axis` that of its channels there, and `nodes` lead on to what is rounded.
    """

    bias: str
    source: str
    axis: int
    nodes: tuple[onnx.NodeProto, ...]


def steady(network: Network, x: Array, slots: tuple[Slot, ...]) -> Steady:
    """Return parameters and rows near the network's own at which roundings are stable.

    Args:
        network: the training form.
        x: rows as it takes them, float32 or int8 (N, ...).
        slots: how each parameter is rounded, in their order.
    """
    network = replace(network, params=_weights(network.params, slots))
    ranges = {slot.scale: name for name, slot in zip(network.params, slots, strict=True) if slot.kind == "range"}
    params, margin, used = dict(network.params), float("inf"), set[str]()
    for node in network.nodes:
        if node.op_type != "QuantizeLinear" or node.input[0] in params:
            continue
        source, scale = node.input[0], node.input[1]
        if scale in ranges:
            name = ranges.pop(scale)
            (values,) = _run(network, [source], params, x)
            params[name] = _unsettled(values, _ends(network, node))
        if source == network.x:
            (step,) = _run(network, [scale], params, x)
            x = _aside(x, step)
            continue
        lever = _lever(network, source, used)
        if lever is None:
            continue
        used.add(lever.bias)
        shift, found = _best(network, lever, node, params, x)
        params[lever.bias] = params[lever.bias] + shift.reshape(params[lever.bias].shape)
        margin = min(margin, found)
    return Steady(params=params, x=x, margin=margin)


def _weights(params: Mapping[str, Array], slots: tuple[Slot, ...]) -> dict[str, Array]:
    """Return the parameters, weights aside of the middle of two steps."""
    moved = dict(params)
    for (name, value), slot in zip(params.items(), slots, strict=True):
        if slot.kind == "weight":
            axis = None if slot.axis >= value.ndim else slot.axis
            scales = weight_scales(value, axis)
            column = scales if axis is None else scales.reshape([-1 if p == axis else 1 for p in range(value.ndim)])
            moved[name] = _aside(value, column)
    return moved


def _unsettled(values: Array, ends: tuple[float, float]) -> Array:
    """Return a trained range somewhat wider than its rows: at theirs its slope, the logarithm of one, has no digits."""
    least, most = ends
    peak = float(np.abs(values).max() if least else values.max())
    return np.asarray(np.log2(max(peak / most, LEAST_SCALE)) + UNSETTLED, np.float32)


def _aside(values: Array, step: Array) -> Array:
    """Return values of which none lies within `WEIGHT_MARGIN` of the middle of two steps: those that did moved down."""
    steps = values.astype(np.float64) / step
    ahead = steps - np.floor(steps) - 0.5
    close = np.abs(ahead) < WEIGHT_MARGIN
    moved: Array = np.where(close, (steps - ahead - 2 * WEIGHT_MARGIN) * step, values).astype(values.dtype)
    return moved


def _ends(network: Network, node: onnx.NodeProto) -> tuple[float, float]:
    zero = network.constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)
    info, place = np.iinfo(zero.dtype), float(zero.reshape(-1)[0])
    return float(info.min) - place, float(info.max) - place


def _lever(network: Network, name: str, used: set[str]) -> _Lever | None:
    """Return the last bias before a tensor, if nothing is rounded between them."""
    makers = {output: node for node in network.nodes for output in node.output}
    behind: list[onnx.NodeProto] = []
    while name in makers:
        node = makers[name]
        if node.op_type == "DequantizeLinear":
            return None
        found = _bias(network, node)
        if found is not None and found[0] not in used:
            return _Lever(bias=found[0], source=name, axis=found[1], nodes=tuple(reversed(behind)))
        behind.append(node)
        computed = [given for given in node.input if given in makers]
        open_ends = [given for given in computed if makers[given].op_type != "DequantizeLinear"]
        if not open_ends:
            return None
        name = open_ends[0]
    return None


def _bias(network: Network, node: onnx.NodeProto) -> tuple[str, int] | None:
    """Return the trained bias of a node and the axis of its output that the bias lies along."""
    if node.op_type in ("Conv", "Gemm", "LayerNormalization") and len(node.input) > 2:
        value = network.params.get(node.input[2])
        if value is not None and value.ndim == 1:
            return node.input[2], 1 if node.op_type == "Conv" else -1
    if node.op_type == "Add":
        rank = len(network.shapes[node.output[0]])
        for name in node.input:
            value = network.params.get(name)
            if value is not None and value.size == value.shape[-1] > 1:
                return name, -1
            if value is not None and value.ndim == rank - 1 > 1 and value.size == value.shape[0] > 1:
                return name, 1
    return None


def _best(
    network: Network,
    lever: _Lever,
    rounded: onnx.NodeProto,
    params: Mapping[str, Array],
    x: Array,
) -> tuple[Array, float]:
    """Return what to add to each channel of a bias, float32 (C,), and the smallest margin then, in steps."""
    goal, scale = rounded.input[0], rounded.input[1]
    own = {lever.source, *(output for node in lever.nodes for output in node.output)}
    read = {name for node in lever.nodes for name in node.input if name} - own - set(params) - set(network.constants)
    before, step, *given = _run(network, [lever.source, scale, *sorted(read)], params, x)
    others = dict(zip(sorted(read), given, strict=True))
    width, axis = params[lever.bias].size, lever.axis % before.ndim
    shifts = (np.arange(SHIFTS, dtype=np.float32) / np.float32(SHIFTS) - np.float32(0.5)) * step
    margins = np.empty((SHIFTS, width), np.float32)
    at_once = max(1, AT_ONCE // before.size)
    through = _Evaluated(network, list(lever.nodes), [goal]) if lever.nodes else None
    for start in range(0, SHIFTS, at_once):
        part = shifts[start : start + at_once]
        moved = (before[None] + part.reshape(-1, *[1] * before.ndim)).reshape(-1, *before.shape[1:])
        after = moved
        if through is not None:
            (after,) = through({**_repeated(others, len(before), len(part)), **params, lever.source: moved})
        if after.ndim != before.ndim or after.shape[axis] != width:
            return np.zeros(width, np.float32), float("inf")  # its channels lie elsewhere now: it stays as it is
        gaps = _margins(network, lever, rounded, (moved, after), step)
        others_last = np.moveaxis(gaps.reshape(len(part), -1, *gaps.shape[1:]), axis + 1, 1)
        margins[start : start + at_once] = others_last.reshape(len(part), width, -1).min(axis=2)
    # Enough, and no more: what stands far off an edge would hide a kernel that is slightly wrong.
    best = np.where(margins >= ENOUGH, 1 - margins, margins - 1).argmax(axis=0)
    return shifts[best], float(margins[best, np.arange(width)].min())


def _repeated(tensors: Mapping[str, Array], rows: int, times: int) -> dict[str, Array]:
    return {
        name: np.tile(value, (times, *[1] * (value.ndim - 1))) if value.ndim and len(value) == rows else value
        for name, value in tensors.items()
    }


def _margins(network: Network, lever: _Lever, rounded: onnx.NodeProto, pair: tuple[Array, Array], step: Any) -> Array:
    """Return how far, in steps, each value is from where its rounding turns, or its slope.

    Slopes turn at the ends of the grid, and at the bends of a ReLU or Clip; what that cuts off is never in doubt.

    Args:
        network: the training form.
        lever: with the nodes between.
        rounded: the rounding.
        pair: values at the lever's source, and what is rounded.
        step: of the grid.
    """
    before, after = pair
    least, most = _ends(network, rounded)
    steps = after / step
    gaps: Array = np.abs(steps - np.clip(np.floor(steps) + np.float32(0.5), least + 0.5, most - 0.5))
    np.minimum(gaps, np.abs(steps - np.float32(most)), out=gaps)
    if least:
        np.minimum(gaps, np.abs(steps - np.float32(least)), out=gaps)
    first = lever.nodes[0] if lever.nodes else None
    if first is None or first.op_type not in _BENT or before.shape != after.shape:
        return gaps
    low, high = np.float32(0), np.float32(np.inf)
    if first.op_type == "Clip":
        low, high = (
            np.float32(network.constants.get(name, end))
            for name, end in zip(first.input[1:3], (-high, high), strict=True)
        )
    if first.op_type != "LeakyRelu":
        gaps[(before <= low) | (before >= high)] = np.inf
    bends: Array = np.minimum(np.abs(before - low), np.abs(high - before)) / step
    return np.minimum(gaps, bends, out=gaps)


class _Evaluated:
    """Some nodes of a network in onnxruntime: called with all that they read, it returns the tensors `names`."""

    def __init__(self, network: Network, nodes: list[onnx.NodeProto], names: list[str]) -> None:
        helper, made = onnx.helper, {output for node in nodes for output in node.output}
        read = dict.fromkeys(name for node in nodes for name in node.input if name and name not in made)
        self._names, self._read = names, [name for name in read if name not in network.constants]
        weights = {name: onnx.helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in network.params.items()}
        kinds = {network.x: network.x_type, **network.kinds, **weights}
        inputs = [
            helper.make_tensor_value_info(name, kinds.get(name, onnx.TensorProto.FLOAT), None) for name in self._read
        ]
        constants = [
            numpy_helper.from_array(network.constants[name], name) for name in read if name in network.constants
        ]
        outputs = [onnx.ValueInfoProto(name=name) for name in names]
        graph = helper.make_graph(nodes, "part", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        self._session = session(model.SerializeToString(), integers=False)

    def __call__(self, feeds: Mapping[str, Array]) -> list[Array]:
        return [
            np.asarray(value) for value in self._session.run(self._names, {name: feeds[name] for name in self._read})
        ]


def _run(network: Network, names: list[str], params: Mapping[str, Array], x: Array) -> list[Array]:
    """Return tensors of the network, computed, given or constant."""
    wanted, nodes = set(names), []
    for node in reversed(network.nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            nodes.append(node)
    made = {output for node in nodes for output in node.output}
    computed = [name for name in names if name in made]
    known: dict[str, Array] = {**network.constants, **params, network.x: x}
    if computed:
        known.update(zip(computed, _Evaluated(network, nodes[::-1], computed)({**params, network.x: x}), strict=True))
    return [np.asarray(known[name]) for name in names]
