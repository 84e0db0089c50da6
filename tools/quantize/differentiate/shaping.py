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


@rule("Identity")
def identity(_tape: Tape, _node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X: dX = dY."""
    return {0: slope}


@rule("Expand")
def expand(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = X broadcast to a shape: dX = dY summed over the axes along which it was."""
    return {0: tape.as_summed(slope, tape.shape(node.output[0]), tape.shape(node.input[0]))}


@rule("SpaceToDepth")
def space_to_depth(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = blocks of X as channels: dX = dY's channels as blocks."""
    return {0: tape.add("DepthToSpace", slope, blocksize=int(attribute(node, "blocksize", 1)))}


@rule("DepthToSpace")
def depth_to_space(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = channels of X as blocks: dX = dY's blocks as channels, in the order of `mode`."""
    block = int(attribute(node, "blocksize", 1))
    if bytes(attribute(node, "mode", b"DCR")) == b"DCR":
        return {0: tape.add("SpaceToDepth", slope, blocksize=block)}
    channels, height, width = tape.fixed_shape(node.input[0], 1)
    cells = tape.add("Reshape", slope, tape.whole(-1, channels // block**2, height, block, width, block))
    turned = tape.add("Transpose", cells, perm=[0, 1, 3, 5, 2, 4])
    return {0: tape.add("Reshape", turned, tape.whole(-1, channels, height, width))}
