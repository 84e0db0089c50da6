"""Gradients of Concat, Split, Slice, Pad and Tile, which put tensors side by side, cut them up or surround them."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.errors import UsageError
from quantize.differentiate.along import padded, put_back, times
from quantize.differentiate.registry import rule, rule_of_many
from quantize.differentiate.tape import Tape, attribute


def _length(tape: Tape, node: onnx.NodeProto, name: str, axis: int) -> int:
    dim = tape.shape(name)[axis]
    if dim is None:
        raise UsageError(
            f"{node.op_type} {node.name!r} works along the rows of a batch: only other axes can be trained"
        )
    return dim


@rule("Concat")
def concat(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A, B, ... side by side along one axis: each gets its part of dY."""
    axis = int(attribute(node, "axis", 0)) % len(tape.shape(node.output[0]))
    sizes = [_length(tape, node, name, axis) for name in node.input]
    wanted = [place for place, name in enumerate(node.input) if tape.wanted(name)]
    if len(node.input) == 1:
        return {0: slope}
    if len(wanted) > 1:
        parts = tape.add_many("Split", [slope, tape.whole(*sizes)], len(sizes), axis=axis)
        return {place: parts[place] for place in wanted}
    start = sum(sizes[: wanted[0]])
    ends = tape.whole(start), tape.whole(start + sizes[wanted[0]]), tape.whole(axis)
    return {wanted[0]: tape.add("Slice", slope, *ends)}


@rule_of_many("Split")
def split(tape: Tape, node: onnx.NodeProto, slopes: Mapping[int, str]) -> Mapping[int, str]:
    """Y1, Y2, ... = X cut along one axis: dX = dY1, dY2, ... side by side, with zeros where there is none."""
    axis = int(attribute(node, "axis", 0)) % len(tape.shape(node.input[0]))
    _length(tape, node, node.input[0], axis)
    parts = [slopes[place] if place in slopes else tape.zeros_like(name) for place, name in enumerate(node.output)]
    return {0: tape.add("Concat", *parts, axis=axis)}


@rule("Slice")
def cut(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = every step-th cell of X from start to end, along some axes: dX = dY in its places, else 0.

    Steps may be negative; starts, ends, axes and steps are constants.
    """
    x, rank = node.input[0], len(tape.shape(node.input[0]))
    starts, ends, *rest = (tape.fixed(name, node).reshape(-1).tolist() if name else None for name in node.input[1:])
    axes, steps = [*rest, None, None][:2]
    for place, (start, end) in enumerate(zip(starts or [], ends or [], strict=True)):
        axis = int(axes[place] if axes else place) % rank
        dim, step = tape.shape(x)[axis], steps[place] if steps else 1
        if dim is None:
            if (start, step) == (0, 1) and end >= _EVERYTHING:
                continue
            dim = _length(tape, node, x, axis)
        slope = put_back(tape, slope, _places(start, end, step, dim), dim, axis=axis, rank=rank)
    return {0: slope}


_EVERYTHING = 2**31 - 1
"""An end from here on means the end of the axis, however long it is."""


def _places(start: int, end: int, step: int, dim: int) -> range:
    """Return the cells that a slice takes; Python has no end before 0 for a negative step, ONNX has."""
    if step < 0 and end < -dim:
        return range(*slice(start, None, step).indices(dim))
    return range(*slice(start, end, step).indices(dim))


@rule("Pad")
def pad(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X with a border: constant, or cells of X (reflect, edge, wrap); negative borders cut.

    Constant: dX = dY without the border. Else each cell of Y is a cell of X, so along each axis dX = dY·M with the
    matrix M of zeros and ones that says which.
    """
    x, rank = node.input[0], len(tape.shape(node.input[0]))
    if len(node.input) > 2 and node.input[2] and tape.wanted(node.input[2]):
        raise UsageError(f"Pad {node.name!r} has a trainable value: make it a constant")
    given = tape.fixed(node.input[1], node).reshape(-1).tolist()
    axes = list(range(rank))
    if len(node.input) > 3 and node.input[3]:
        axes = [int(axis) % rank for axis in tape.fixed(node.input[3], node).reshape(-1)]
    borders = {axis: (given[i], given[i + len(axes)]) for i, axis in enumerate(axes)}
    mode = bytes(attribute(node, "mode", b"constant")).decode()
    if mode != "constant":
        for axis, border in borders.items():
            if any(border):
                matrix = _matrix(_length(tape, node, x, axis), border, mode)
                slope = times(tape, slope, matrix, axis, rank)
        return {0: slope}
    cut_axes = {axis: [max(0, side) for side in border] for axis, border in borders.items() if max(border) > 0}
    if cut_axes:
        starts = [before for before, _ in cut_axes.values()]
        ends = [-behind if behind else _EVERYTHING for _, behind in cut_axes.values()]
        slope = tape.add("Slice", slope, tape.whole(*starts), tape.whole(*ends), tape.whole(*cut_axes))
    lost = {axis: (max(0, -border[0]), max(0, -border[1])) for axis, border in borders.items()}
    return {0: padded(tape, slope, lost, rank)}


def _matrix(size: int, border: tuple[int, int], mode: str) -> npt.NDArray[Any]:
    """Return float32 (cells of Y, cells of X): 1 where the one is the other."""
    cells = np.arange(size)
    before, behind = (max(0, side) for side in border)
    cells = np.pad(cells, (before, behind), mode=mode)  # type: ignore[call-overload]
    cells = cells[max(0, -border[0]) : len(cells) - max(0, -border[1])]
    matrix: npt.NDArray[Any] = np.eye(size, dtype=np.float32)[cells]
    return matrix


@rule("Tile")
def tile(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X repeated along its axes: dX = sum of dY over the repeats, which are constants."""
    shape = tape.shape(node.input[0])
    repeats = tape.fixed(node.input[1], node).reshape(-1).tolist()
    if shape.count(None) > 1:
        raise UsageError(f"Tile {node.name!r}: the shape {shape} has to be known but for the batch")
    pairs = [(count, -1 if dim is None else dim) for count, dim in zip(repeats, shape, strict=True)]
    split_up = tape.add("Reshape", slope, tape.whole(*itertools.chain.from_iterable(pairs)))
    return {0: tape.add("ReduceSum", split_up, tape.whole(*range(0, 2 * len(shape), 2)), keepdims=0)}
