"""Where a network can be cut in two, and the blocks of weights between the cuts.

A cut is a tensor that alone carries everything from the nodes before it to those behind it, so residual branches stay
whole; its first axis is the batch, as features are kept row by row. A block is the weighted nodes between two cuts; a
depthwise convolution belongs to the block that follows it.
"""

import itertools
from dataclasses import dataclass

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.network import Network


@dataclass(frozen=True, kw_only=True)
class Block:
    """Weighted nodes that are frozen or trained together, and the tensor that carries everything into them."""

    cut: str
    nodes: tuple[str, ...]
    weights: tuple[str, ...]


def cuts(network: Network) -> list[tuple[int, str]]:
    """Return (number of nodes before it, tensor) for each cut, from the input to the output."""
    fixed = set(network.constants) | set(network.params)
    last_use: dict[str, int] = {}
    for place, node in enumerate(network.nodes):
        last_use.update({name: place for name in node.input if name and name not in fixed})
    last_use[network.output] = len(network.nodes)
    live = {network.x}
    found = [(0, network.x)]
    for place, node in enumerate(network.nodes):
        live = {name for name in live if last_use.get(name, -1) > place}
        live |= {name for name in node.output if last_use.get(name, -1) > place}
        if len(live) == 1:
            (cut,) = live
            if network.shapes.get(cut, (None,))[:1] == (None,):
                found.append((place + 1, cut))
    return found


def blocks(network: Network) -> list[Block]:
    """Return the network's blocks in order; the last one is its head.

    Raises:
        UsageError: no node has weights.
    """
    found: list[Block] = []
    borders = cuts(network)
    pending: Block | None = None
    for (start, cut), (end, _) in itertools.pairwise(borders):
        inside = [node for node in network.nodes[start:end] if any(name in network.params for name in node.input)]
        if not inside:
            continue
        weights = tuple(dict.fromkeys(name for n in inside for name in n.input if name in network.params))
        block = Block(cut=cut, nodes=tuple(node.name for node in inside), weights=weights)
        if not any(_has_matrix(network, node) for node in inside) and found and pending is None:
            found[-1] = _joined(found[-1], block)  # a bias or a normalisation belongs to what it follows
            continue
        if pending is not None:
            block = _joined(pending, block)
        pending = block if all(_depthwise(network, node) for node in inside) else None
        if pending is None:
            found.append(block)
    if pending is not None:
        found.append(pending)
    if not found:
        raise UsageError("the model has no weights to train")
    return found


def _joined(first: Block, second: Block) -> Block:
    weights = tuple(dict.fromkeys(first.weights + second.weights))
    return Block(cut=first.cut, nodes=first.nodes + second.nodes, weights=weights)


def _has_matrix(network: Network, node: onnx.NodeProto) -> bool:
    return node.op_type != "BatchNormalization" and any(
        network.params[name].ndim > 1 and max(network.params[name].shape) != network.params[name].size
        for name in node.input
        if name in network.params
    )


def _depthwise(network: Network, node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv" or node.input[1] not in network.params:
        return node.op_type == "BatchNormalization"
    groups = int(attribute(node, "group", 1))
    return groups > 1 and network.params[node.input[1]].shape[1] == 1
