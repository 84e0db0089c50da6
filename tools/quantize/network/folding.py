"""Constant folding: what follows from constants and from shapes is worked out by ONNX's own reference evaluator.

Shapes are worked out for two numbers of rows. A value that is the same for both is a constant; a Reshape whose target
differs in one dimension gets -1 there. Weights are left as they are, so that they are trained under their own names.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from accord.errors import UsageError
from quantize.network.draft import BATCHES, OPSET, Draft, Sizes, cells, sizes

Array = npt.NDArray[Any]

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
_SHAPING = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
LARGEST = 1 << 20
"""Elements of a constant that folding may make; a larger one stays a node."""


def fold(draft: Draft) -> None:
    """Fold the draft's constants, and open up a batch that was traced.

    Raises:
        UsageError: a Reshape mixes rows in a way that can't be undone, or constants don't go together.
    """
    while _settled(draft, *(_evaluated(draft, batch) for batch in BATCHES)):
        pass


def _evaluated(draft: Draft, batch: int) -> tuple[Sizes, dict[str, Array]]:
    """Return the sizes for `batch` rows, and the value of every tensor that does not depend on what x holds."""
    known = dict(draft.constants)
    left = list(draft.nodes)
    while True:
        found = sizes(draft, left, known, batch, strict=False)
        rest = []
        for node in left:
            value = _value(draft, node, known, found)
            if value is None:
                rest.append(node)
            else:
                known.update(zip(node.output, value, strict=False))
        if len(rest) == len(left):
            return found, known
        left = rest


def _value(draft: Draft, node: onnx.NodeProto, known: Mapping[str, Array], found: Sizes) -> list[Array] | None:
    """Return the outputs of a node that follow from shapes and constants, or None."""
    if node.op_type in ("Shape", "Size"):
        shape = found.shapes.get(node.input[0])
        if shape is None:
            return None
        feeds: dict[str, Array] = {node.input[0]: np.broadcast_to(np.zeros((), np.float32), shape)}
    elif node.op_type in _RANDOM or not all(_foldable(draft, node, name, known) for name in node.input if name):
        return None
    else:
        feeds = {name: known[name] for name in node.input if name}
    return _run(node, feeds)


def _foldable(draft: Draft, node: onnx.NodeProto, name: str, known: Mapping[str, Array]) -> bool:
    """Tell whether a value is known and no weight.

    A single number is none, such as the root of a width; but a bias of one output may be given another shape.
    """
    if name not in known or name not in draft.weights:
        return name in known
    return known[name].size == 1 and node.op_type not in _SHAPING


def _run(node: onnx.NodeProto, feeds: Mapping[str, Array]) -> list[Array] | None:
    shapes = [cells(value.shape) for value in feeds.values()]
    if max(shapes, default=0) > LARGEST and node.op_type not in ("Shape", "Size"):
        return None
    try:
        evaluator = ReferenceEvaluator(node, opsets={"": OPSET})
        return [np.asarray(value) for value in evaluator.run(None, {n: feeds[n] for n in node.input if n})]
    except Exception as error:  # the evaluator raises whatever NumPy does
        raise UsageError(
            f"{node.op_type} {node.name!r} works on constants and fails: {str(error)[:200]}: is the model valid?"
        ) from error


def _settled(draft: Draft, one: tuple[Sizes, dict[str, Array]], other: tuple[Sizes, dict[str, Array]]) -> bool:
    """Take over what both runs agree on, give one Reshape its target, and tell whether another run is needed."""
    if _reopened(draft, one, other) or _unbound(draft, one, other):
        return True
    for name, value in one[1].items():
        second = other[1].get(name, np.zeros(0))
        if name not in draft.constants and np.array_equal(value, second, equal_nan=value.dtype.kind == "f"):
            draft.constants[name] = value
        if value.size and second.size and value.dtype.kind in "fiu":
            same = value.min() == value.max() == second.min() == second.max()
            draft.filled |= {name: float(value.min())} if same else {}
    before = len(draft.nodes)
    draft.nodes = [node for node in draft.nodes if not all(name in draft.constants for name in node.output if name)]
    return len(draft.nodes) != before


def _reopened(draft: Draft, one: tuple[Sizes, dict[str, Array]], other: tuple[Sizes, dict[str, Array]]) -> bool:
    """Give the first Reshape that needs it a constant target which follows the batch; tell whether there was one.

    Exporters compute the target from the shape of x, or write the batch that they traced into it.
    """
    for node in draft.nodes:
        name = f"{node.output[0]}/target"
        if node.op_type != "Reshape" or node.input[1] == name:
            continue
        shapes = [run[0].shapes.get(node.input[0]) for run in (one, other)]
        values = [run[1].get(node.input[1]) for run in (one, other)]
        before = [shape for shape in shapes if shape is not None]
        targets = [value.reshape(-1).tolist() for value in values if value is not None]
        if len(before) != 2 or len(targets) != 2 or (0 in targets[0] and _allows_zero(node)):
            continue
        constant = node.input[1] in draft.constants
        target = _opened(draft, node, before, targets[0]) if constant else _common(before, targets)
        if target is not None:
            draft.constants[name] = np.array(target, np.int64)
            node.input[1] = name
            return True
    return False


def _unbound(draft: Draft, one: tuple[Sizes, dict[str, Array]], other: tuple[Sizes, dict[str, Array]]) -> bool:
    """Give the first Expand that repeats no row a constant target, with 1 where the batch stands; tell whether it did.

    Else the shape of x would have to be known wherever a model is cut.
    """
    for node in draft.nodes:
        if node.op_type != "Expand" or node.input[1] in draft.constants:
            continue
        shapes = [run[0].shapes.get(node.input[0]) for run in (one, other)]
        targets = [run[1].get(node.input[1]) for run in (one, other)]
        if None in shapes or any(target is None for target in targets):
            continue
        first, second = (np.asarray(target).reshape(-1).tolist() for target in targets)
        if len(first) != len(second):
            continue
        batched = [place for place, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
        ends = [[*[1] * (len(first) - len(shape or ())), *(shape or ())][-len(first) :] for shape in shapes]
        if all(ends[0][place] == first[place] and ends[1][place] == second[place] for place in batched):
            name = f"{node.output[0]}/target"
            draft.constants[name] = np.array([1 if p in batched else dim for p, dim in enumerate(first)], np.int64)
            node.input[1] = name
            return True
    return False


def _resolved(before: tuple[int, ...], target: list[int]) -> list[int] | None:
    """Return the shape that comes out; None if it has another number of elements."""
    whole = [before[place] if dim == 0 else dim for place, dim in enumerate(target)]
    known = cells(tuple(dim for dim in whole if dim != -1))
    if -1 in whole and known and cells(before) % known == 0:
        return [cells(before) // known if dim == -1 else dim for dim in whole]
    return whole if -1 not in whole and known == cells(before) else None


def _common(before: list[tuple[int, ...]], targets: list[list[int]]) -> list[int] | None:
    """Return one target for every number of rows, from two computed ones; None if there is none."""
    first, second = (_resolved(shape, target) for shape, target in zip(before, targets, strict=True))
    if first is None or second is None:
        return None
    differing = [place for place, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]
    return [-1 if place in differing else dim for place, dim in enumerate(first)] if len(differing) == 1 else None


def _opened(draft: Draft, node: onnx.NodeProto, before: list[tuple[int, ...]], target: list[int]) -> list[int] | None:
    """Return a target that follows the batch where a traced one stands in it; None where it does already."""
    growing = [axis for axis, pair in enumerate(zip(*before, strict=True)) if pair[0] != pair[1]]
    if not growing or (not draft.traced and _resolved(before[0], target) is not None):
        return None
    axis, traced = growing[0], draft.traced or 1
    shape = [*before[0][:axis], before[0][axis] // BATCHES[0] * traced, *before[0][axis + 1 :]]
    found = _resolved(tuple(shape), target)
    incoming = tuple("N" if place == axis else dim for place, dim in enumerate(before[0]))
    if len(growing) > 1 or found is None:
        raise UsageError(f"Reshape {node.name!r} mixes the rows of a batch: {incoming} becomes {tuple(target)}")
    places = _grows(found, cells(tuple(shape[:axis])), shape[axis], traced)
    if len(places) != 1:
        raise UsageError(
            f"Reshape {node.name!r} has a fixed batch in it, and {incoming} to {tuple(target)} does not tell where: "
            "export the model with an open batch dimension, or trace it with more than one row"
        )
    found[places[0]] = -1
    return None if found == target else found


def _grows(found: list[int], before: int, length: int, traced: int) -> list[int]:
    """Return the dimensions of a traced shape that can hold the batch.

    Args:
        found: the shape that came out of the trace.
        before: cells before the batch in what comes in.
        length: of the dimension that comes in with the batch in it.
        traced: rows of the trace.
    """
    whole = [place for place, dim in enumerate(found) if cells(tuple(found[:place])) == before and dim == length]
    if whole:
        return whole[:1]
    return [
        place
        for place in range(len(found))
        if before % cells(tuple(found[:place])) == 0 and cells(tuple(found[: place + 1])) % (before * traced) == 0
    ]


def _allows_zero(node: onnx.NodeProto) -> bool:
    return any(item.name == "allowzero" and item.i for item in node.attribute)
