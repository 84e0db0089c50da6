"""Gradients of reductions over axes: sums, means, extremes and norms."""

from collections.abc import Mapping

import onnx
from onnx import TensorProto

from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


def _axes(tape: Tape, node: onnx.NodeProto) -> tuple[int, ...]:
    """Return the axes that the node reduces, none of them negative."""
    rank = len(tape.shape(node.input[0]))
    if len(node.input) > 1 and node.input[1]:
        axes = [int(axis) for axis in tape.fixed(node.input[1], node).reshape(-1)]
        if axes:
            return tuple(sorted(axis % rank for axis in axes))
    return () if int(attribute(node, "noop_with_empty_axes", 0)) else tuple(range(rank))


def _kept(tape: Tape, node: onnx.NodeProto, name: str) -> str:
    """Return a tensor of Y's shape with the reduced axes in it, of length 1."""
    axes = _axes(tape, node)
    return name if int(attribute(node, "keepdims", 1)) or not axes else tape.add("Unsqueeze", name, tape.whole(*axes))


def _spread(tape: Tape, node: onnx.NodeProto, slope: str) -> str:
    """Return `slope` of Y's shape in every cell that was reduced."""
    return tape.add("Expand", _kept(tape, node, slope), tape.add("Shape", node.input[0]))


@rule("ReduceSum")
def reduce_sum(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = sum of X over axes: dX = dY in every cell."""
    return {0: _spread(tape, node, slope)}


@rule("ReduceMean")
def reduce_mean(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = mean of X over axes: dX = dY/cells in every cell."""
    shape, cells = tape.shape(node.input[0]), 1
    for axis in _axes(tape, node):
        dim = shape[axis]
        if dim is None:
            sizes = [tape.add("Cast", tape.add("Size", name), to=TensorProto.FLOAT) for name in node.output[:1]]
            sizes.append(tape.add("Cast", tape.add("Size", node.input[0]), to=TensorProto.FLOAT))
            return {0: _spread(tape, node, tape.add("Mul", slope, tape.add("Div", *sizes)))}
        cells *= dim
    return {0: _spread(tape, node, tape.add("Mul", slope, tape.number(1.0 / cells)))}


@rule("ReduceMax")
def reduce_max(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = largest X over axes: dX = dY where X = Y, in equal parts where several cells are."""
    return _extreme(tape, node, slope)


@rule("ReduceMin")
def reduce_min(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = smallest X over axes: dX = dY where X = Y, in equal parts where several cells are."""
    return _extreme(tape, node, slope)


def _extreme(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    kept = _kept(tape, node, node.output[0])
    hits = tape.add("Cast", tape.add("Equal", node.input[0], kept), to=TensorProto.FLOAT)
    axes = _axes(tape, node)
    count = tape.add("ReduceSum", hits, tape.whole(*axes), keepdims=1) if axes else hits
    return {0: tape.add("Mul", hits, tape.add("Div", _kept(tape, node, slope), count))}


@rule("ReduceL1")
def reduce_l1(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = sum of |X| over axes: dX = dY·sign X."""
    return {0: tape.add("Mul", tape.add("Sign", node.input[0]), _kept(tape, node, slope))}


@rule("ReduceL2")
def reduce_l2(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = root of the sum of X² over axes: dX = dY·X/Y."""
    share = tape.add("Div", _kept(tape, node, slope), _kept(tape, node, node.output[0]))
    return {0: tape.add("Mul", node.input[0], share)}


@rule("ReduceSumSquare")
def reduce_sum_square(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = sum of X² over axes: dX = 2·dY·X."""
    double = tape.add("Mul", _kept(tape, node, slope), tape.number(2.0))
    return {0: tape.add("Mul", node.input[0], double)}


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = log of the sum of exp X over axes: dX = dY·exp(X - Y)."""
    gap = tape.add("Sub", node.input[0], _kept(tape, node, node.output[0]))
    return {0: tape.add("Mul", tape.add("Exp", gap), _kept(tape, node, slope))}
