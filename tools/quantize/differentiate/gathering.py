"""Gradients of look-ups: Gather, which is an embedding where its indices are ids, GatherElements and GatherND."""

from collections.abc import Mapping

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.along import put_back
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


@rule("Gather")
def gather(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X[.., I, ..] with integer I of any shape at one axis: dX = dY added into the cells that I names.

    Indices may repeat, and count from the end where they are negative. They are a constant, or computed from an input.
    """
    x, indices = node.input
    shape = tape.shape(x)
    rank = len(shape)
    axis = int(attribute(node, "axis", 0)) % rank
    size, constant = shape[axis], tape.constants.get(indices)
    if size is None:
        raise UsageError(f"Gather {node.name!r} works along the rows of a batch: only other axes can be trained")
    if constant is not None:
        places = [int(place) % size for place in constant.reshape(-1)]
        if len(set(places)) == len(places) and constant.ndim <= 1:
            kept = slope if constant.ndim else tape.add("Unsqueeze", slope, tape.whole(axis))
            return {0: put_back(tape, kept, places, size, axis=axis, rank=rank)}
    depth = len(tape.shape(indices))
    # ScatterND fills the first axis: the gathered axis, and those of the indices in the slope, go to the front.
    front = [axis, *(a for a in range(rank) if a != axis)]
    turned, empty = slope, tape.zeros_like(x)
    if axis:
        order = [*range(axis, axis + depth), *range(axis), *range(axis + depth, rank - 1 + depth)]
        turned = tape.add("Transpose", slope, perm=order)
        empty = tape.zeros_like(tape.add("Transpose", x, perm=front))
    column = tape.add("Unsqueeze", indices, tape.whole(-1))
    full = tape.add("ScatterND", empty, column, turned, reduction="add")
    return {0: tape.add("Transpose", full, perm=[int(p) for p in np.argsort(front)]) if axis else full}


@rule("GatherElements")
def gather_elements(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[i, j] = X[I[i, j], j] for axis 0, and so for others: dX = dY added into the cells that I names."""
    axis = int(attribute(node, "axis", 0))
    empty = tape.zeros_like(node.input[0])
    return {0: tape.add("ScatterElements", empty, node.input[1], slope, axis=axis, reduction="add")}


@rule("GatherND")
def gather_nd(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y[i] = X[I[i]] with I[i] a vector of the first indices: dX = dY added into the cells that I names."""
    if int(attribute(node, "batch_dims", 0)):
        raise UsageError(f"GatherND {node.name!r} has batch_dims: only 0 can be trained")
    return {0: tape.add("ScatterND", tape.zeros_like(node.input[0]), node.input[1], slope, reduction="add")}
