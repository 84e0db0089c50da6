"""The forward part of a training graph and the part that trains, cut from its bytes without `onnx`.

onnxruntime computes every node of a graph whatever outputs are asked for, so a prediction from the training graph would
cost a backward pass. A graph may also compute its outputs by other nodes than its loss: what is exported holds the
operators of the model as it was, and what trains the forms that are quick to train.
"""

from collections.abc import Iterable

from accord.bundle.protobuf import BYTES, read_fields, write_field
from accord.errors import Refusal
from accord.values import dataclass

# Field numbers of onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_NAME, _VALUE_NAME = 8, 1


@dataclass(frozen=True)
class _Node:
    content: memoryview
    inputs: frozenset[bytes]
    outputs: frozenset[bytes]
    pools: bool


def forward_graph(train: bytes, output: str) -> bytes:
    """Return a model with the one output `output`, and only the nodes, inputs and constants that it needs.

    Args:
        train: the bytes of a training graph that `check_operators` has passed.
        output: the name of one of its outputs.

    Raises:
        Refusal: `CorruptGraph`: the bytes are no protobuf.
    """
    return _part(train, {output})


def training_part(train: bytes, outputs: Iterable[str]) -> bytes:
    """Return a model with the outputs `outputs`, those that a step needs, and only what these need; see above."""
    return _part(train, set(outputs))


def _part(train: bytes, outputs: set[str]) -> bytes:
    parts = []
    for number, kind, content in read_fields(memoryview(train)):
        kept = _cut(content, {output.encode() for output in outputs}) if number == _MODEL_GRAPH else content
        parts.append(write_field(number, kind, kept))
    return b"".join(parts)


def ends(model: bytes) -> tuple[list[str], list[str]]:
    """Return the names of a model's inputs and of its outputs.

    Raises:
        Refusal: `CorruptGraph`: the bytes are no protobuf, or there is no input or no output.
    """
    names: dict[int, list[str]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    for number, _, graph in read_fields(memoryview(model)):
        if number == _MODEL_GRAPH:
            for part, _, value in read_fields(graph):
                if part in names:
                    names[part].append(_name(value, _VALUE_NAME).decode("utf-8", "replace"))
    if not all(names.values()):
        raise Refusal("CorruptGraph", "the model has no input or no output")
    return names[_GRAPH_INPUT], names[_GRAPH_OUTPUT]


def _cut(graph: memoryview, outputs: set[bytes]) -> bytes:
    fields = list(read_fields(graph))
    nodes = [_node(content) for number, _, content in fields if number == _GRAPH_NODE]
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):  # nodes stand in topological order
        if wanted & node.outputs:
            kept.append(_without_unused(node.content, wanted) if node.pools else node.content)
            wanted |= node.inputs
    parts = [write_field(_GRAPH_NODE, BYTES, content) for content in reversed(kept)]
    for number, kind, content in fields:
        if number in (_GRAPH_NODE, _GRAPH_VALUE):
            continue
        if number == _GRAPH_OUTPUT and _name(content, _VALUE_NAME) not in outputs:
            continue
        if number == _GRAPH_INPUT and _name(content, _VALUE_NAME) not in wanted:
            continue
        if number == _GRAPH_INITIALIZER and _name(content, _TENSOR_NAME) not in wanted:
            continue
        parts.append(write_field(number, kind, content))
    return b"".join(parts)


def _without_unused(content: memoryview, wanted: set[bytes]) -> bytes:
    """Drop the places of a MaxPool that nobody reads: it takes five times as long where it must tell them."""
    return b"".join(
        write_field(number, kind, value)
        for number, kind, value in read_fields(content)
        if number != _NODE_OUTPUT or bytes(value) in wanted
    )


def _node(content: memoryview) -> _Node:
    inputs, outputs = set(), set()
    for number, _, value in read_fields(content):
        if number == _NODE_INPUT:
            inputs.add(bytes(value))
        elif number == _NODE_OUTPUT:
            outputs.add(bytes(value))
    pools = _name(content, _NODE_OPERATOR) == b"MaxPool"
    return _Node(content, frozenset(inputs), frozenset(outputs) - {b""}, pools)


def _name(content: memoryview, field: int) -> bytes:
    return next((bytes(value) for number, _, value in read_fields(content) if number == field), b"")
