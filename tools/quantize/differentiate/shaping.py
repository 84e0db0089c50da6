"""Gradients of operators that only move values: the slope goes back into the shape that went in."""

from collections.abc import Mapping

import numpy as np
import onnx

from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


def _as_input(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    shape = tape.shape(node.input[0])
    if shape.count(None) > 1:
        return {0: tape.add("Reshape", slope, tape.add("Shape", node.input[0]))}
    return {0: tape.add("Reshape", slope, tape.whole(*(-1 if dim is None else dim for dim in shape)))}


@rule("Flatten")
def flatten(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """For Y = X in another shape: dX = dY in X's shape."""
    return _as_input(tape, node, slope)


@rule("Reshape")
def reshape(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """For Y = X in another shape: dX = dY in X's shape."""
    return _as_input(tape, node, slope)


@rule("Squeeze")
def squeeze(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """For Y = X in another shape: dX = dY in X's shape."""
    return _as_input(tape, node, slope)


@rule("Unsqueeze")
def unsqueeze(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """For Y = X in another shape: dX = dY in X's shape."""
    return _as_input(tape, node, slope)


@rule("Transpose")
def transpose(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X with its axes permuted: dX = dY permuted back."""
    rank = len(tape.shape(node.input[0]))
    perm = attribute(node, "perm", list(range(rank))[::-1])
    return {0: tape.add("Transpose", slope, perm=[int(place) for place in np.argsort(perm)])}
