"""Which activations of a float network become int8, and which of them share one grid. Holds no numbers.

The inputs of weighted operators are rounded, and whatever can hand them int8 values without leaving its grid: then a
runtime computes from one rounded tensor to the next in integers.
"""

from collections.abc import Mapping

import onnx

from quantize.differentiate.tape import attribute
from quantize.network import Network

MOVES = frozenset({"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators whose output lies on the grid of their input."""
MIXES = frozenset({"Add", "Concat", "AveragePool", "GlobalAveragePool"})
"""Operators that runtimes compute in int8, onto a grid of their own."""
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose second argument is a weight that becomes int8."""


def fixed(network: Network) -> frozenset[str]:
    """Return the names of tensors that do not depend on a row."""
    return frozenset(network.constants) | frozenset(network.params)


def weight_axis(node: onnx.NodeProto, rank: int) -> int | None:
    """Return the axis of output channels in a node's weight; None where one scale must do for all."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if int(attribute(node, "group", 1)) == 1 else None
    if node.op_type == "Gemm":
        return 0 if int(attribute(node, "transB", 0)) else 1
    return 1 if rank == 2 else None


def weighted(network: Network, node: onnx.NodeProto) -> bool:
    """Tell whether a node multiplies rows by a weight of the model."""
    known = fixed(network)
    if node.op_type not in WEIGHTED or node.input[1] not in known or node.input[0] in known:
        return False
    return not int(attribute(node, "transA", 0))


def rounded_tensors(network: Network) -> Mapping[str, str]:
    """Return each activation that becomes int8, in order, and the tensor whose grid it lies on."""
    known = fixed(network)
    wanted = {node.input[0] for node in network.nodes if weighted(network, node)}
    for node in reversed(network.nodes):
        if node.output[0] not in wanted:
            continue
        rows = [name for name in node.input if name and name not in known]
        if node.op_type in MOVES:
            wanted.add(node.input[0])
        elif node.op_type in MIXES and (node.op_type != "Add" or len(rows) == 2):
            wanted.update(rows)
    roots = {network.x: network.x} if network.x in wanted else {}
    for node in network.nodes:
        name = node.output[0]
        if name in wanted:
            roots[name] = roots[node.input[0]] if node.op_type in MOVES else name
    return roots
