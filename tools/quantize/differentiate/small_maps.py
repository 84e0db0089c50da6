"""Depthwise convolutions on small maps written as matrices, one for each channel. Differentiates nothing.

A runtime is slow at a depthwise convolution whose weights change, and slower at its gradients; on a few cells the
matrix that takes a channel's input cells to its output cells is small, and three products do everything. The outputs
that are predicted and exported come from the convolutions all the same.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantize.differentiate.tape import Tape, attribute
from quantize.differentiate.window import pairs_of, window_of
from quantize.network import Network, shapes_of

MOST_PAIRS = 1_296
"""Input cells times output cells, up to a map of 6 x 6 on itself; with 144 x 36 the convolution is about as quick."""


def with_matrices(network: Network) -> Network:
    """Return the same function, with matrices where a depthwise convolution that is trained has a small map."""
    fixed = set(network.constants)
    constants, nodes = dict(network.constants), list[onnx.NodeProto]()
    for node in network.nodes:
        suits = node.op_type == "Conv" and node.input[1] not in fixed and _is_small(network, node)
        nodes += _as_matrices(network, node, constants) if suits else [node]
    if len(nodes) == len(network.nodes):
        return network
    known = {**constants, **network.params}
    shapes = shapes_of(nodes, known, network.x, network.shapes[network.x][1:], network.output, network.x_type)
    return replace(network, nodes=tuple(nodes), constants=constants, shapes=shapes)


def as_it_was(tape: Tape, network: Network) -> str:
    """Append the nodes of the network that have other forms on the tape, or read what such nodes give.

    Args:
        tape: with the nodes of `with_matrices(network)`.
        network: the network itself.

    Returns:
        The name of its output; nothing is appended where no node has another form.
    """
    written = {id(node) for node in tape.network.nodes}
    names: dict[str, str] = {}
    for node in network.nodes:
        if id(node) in written and not any(name in names for name in node.input):
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        names |= {name: tape.fresh(f"plain/{name}") for name in node.output if name}
        copy.name = names[node.output[0]]
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, "") for name in node.output]
        tape.nodes.append(copy)
    return names.get(network.output, network.output)


def _is_small(network: Network, node: onnx.NodeProto) -> bool:
    weights, x, y = (network.shapes.get(name) for name in (node.input[1], node.input[0], node.output[0]))
    if not weights or not x or not y or None in (*weights, *x[1:], *y[1:]):
        return False
    group = int(attribute(node, "group", 1))
    one_each = group > 1 and weights[0] == group and weights[1] == 1
    return one_each and math.prod(int(dim or 0) for dim in (*x[2:], *y[2:])) <= MOST_PAIRS


def _as_matrices(
    network: Network, node: onnx.NodeProto, constants: dict[str, npt.NDArray[np.float32]]
) -> list[onnx.NodeProto]:
    """Return T = W by the pairs of cells, (C, inputs, outputs), and Y = X T + B with channels first."""
    x, w, y = node.input[0], node.input[1], node.output[0]
    channels, *kernel = (int(dim or 0) for place, dim in enumerate(network.shapes[w]) if place != 1)
    sizes = tuple(int(dim or 0) for dim in network.shapes[x][2:])
    counts = tuple(int(dim or 0) for dim in network.shapes[y][2:])
    pairs = pairs_of(window_of(node, tuple(kernel)), sizes, counts)
    taps, inputs, outputs = pairs.shape
    nodes: list[onnx.NodeProto] = []

    def kept(value: npt.NDArray[np.float32], kind: str) -> str:
        """Keep a constant once for all nodes that have the same."""
        for name, other in constants.items():
            if name.startswith("matrix/") and other.dtype == value.dtype and np.array_equal(other, value):
                return name
        name = f"matrix/{kind}{len(constants)}"
        constants[name] = value
        return name

    def add(operator: str, *given: str, to: str = "", **attributes: Any) -> str:
        name = to or f"{y}/matrix{len(nodes)}"
        nodes.append(onnx.helper.make_node(operator, given, [name], name=name, **attributes))
        return name

    def shaped(name: str, *shape: int, to: str = "") -> str:
        return add("Reshape", name, kept(np.array(shape, np.int64), "shape"), to=to)

    rows = add("MatMul", shaped(w, channels, taps), kept(pairs.reshape(taps, inputs * outputs), "pairs"))
    matrices = shaped(rows, channels, inputs, outputs)
    images = add("Transpose", shaped(x, -1, channels, inputs), perm=[1, 0, 2])
    found = add("MatMul", images, matrices)
    if len(node.input) > 2 and node.input[2]:
        found = add("Add", found, shaped(node.input[2], channels, 1, 1))
    shaped(add("Transpose", found, perm=[1, 0, 2]), -1, channels, *counts, to=y)
    return nodes
