"""The backward pass: walks the forward nodes in reverse and lets each rule write its part. Knows no operator itself."""

from dataclasses import dataclass

import onnx

from accord.bundle.operators import check_operators
from accord.errors import Refusal, UsageError
from quantize.differentiate import (
    activations,
    arithmetic,
    convolution,
    dense,
    einsum,
    functions,
    gathering,
    joining,
    normalisation,
    pooling,
    reductions,
    resizing,
    rounding,
    shaping,
)
from quantize.differentiate.losses import LOSSES
from quantize.differentiate.registry import rule_of
from quantize.differentiate.small_maps import as_it_was, with_matrices
from quantize.differentiate.tape import Tape, initialisers
from quantize.freezing import deepest_cut
from quantize.network import IR_VERSION, OPSET, Network

FAMILIES = (
    activations,
    arithmetic,
    convolution,
    dense,
    einsum,
    functions,
    gathering,
    joining,
    normalisation,
    pooling,
    reductions,
    resizing,
    rounding,
    shaping,
)
"""Importing a family enters its rules into the registry."""


@dataclass(frozen=True, kw_only=True)
class TrainingGraph:
    """A model that computes loss, outputs and gradients.

    `input_names` are x, y, the rows' weights and the parameters; `output_names` the loss, the outputs, the metric and
    the gradients, in one order.
    """

    model: onnx.ModelProto
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def training_graph(network: Network, loss: str, *, plain: bool = True) -> TrainingGraph:
    """Return the training graph of a network: opset 20, IR 9, nothing but plain operators, any number of rows.

    Args:
        network: the forward model.
        loss: softmax, binary, mse or huber.
        plain: the outputs come from the operators of the network, also where the loss and the gradients come from
            quicker forms of them: what is exported is what was given. A runtime that can't leave them out while it
            trains pays for both.

    Raises:
        UsageError: an operator has no rule, or a weight does not reach the output; it says behind which tensor
            everything can be trained, if there is one.
    """
    try:
        return _differentiated(network, loss, plain=plain)
    except UsageError as error:
        cut = deepest_cut(network, lambda part: _trains(part, loss))
        if cut is None:
            raise
        raise UsageError(
            f"{error}; everything behind tensor {cut!r} can be trained: freeze what is before it "
            f"(--freeze-before {cut})"
        ) from error


def _trains(network: Network, loss: str) -> bool:
    """Tell whether a device could train the network: a frozen part stays in its graph, and needs listed operators."""
    try:
        check_operators(_differentiated(network, loss, plain=True).model.SerializeToString())
    except (UsageError, Refusal):
        return False
    return True


def _differentiated(network: Network, loss: str, *, plain: bool) -> TrainingGraph:
    given, network = network, with_matrices(network)
    tape = Tape(network)
    y, weights = tape.fresh("y"), tape.fresh("weights")
    found = LOSSES[loss](tape, network.output, y, weights, network.outputs)
    slopes = _backward(tape, network.output, found.slope)
    lost = [name for name in network.params if name not in slopes]
    if lost:
        raise UsageError(f"weight {lost[0]!r} does not change the output, so it can't be trained")
    gradients = [(f"grad/{name}", slopes[name]) for name in network.params]
    outputs = as_it_was(tape, given) if plain else network.output
    named = {"loss": found.loss, "outputs": outputs, "metric": found.metric, **dict(gradients)}
    renamed = {tape.fresh(wished): source for wished, source in named.items()}
    _name_outputs(tape, renamed)
    return TrainingGraph(
        model=_model(tape, network, (y, weights), tuple(renamed), loss),
        input_names=(network.x, y, weights, *network.params),
        output_names=tuple(renamed),
    )


def _backward(tape: Tape, output: str, slope: str) -> dict[str, str]:
    """Append the backward pass and return the name of each trainable tensor's slope."""
    parts: dict[str, list[str]] = {output: [slope]}
    forwards = {node.output[0]: node for node in tape.nodes}
    for node in reversed(tape.network.nodes):
        slopes = {place: _total(tape, parts[name]) for place, name in enumerate(node.output) if name in parts}
        if not slopes or not any(tape.wanted(name) for name in node.output):
            continue
        for place, found in rule_of(node)(tape, forwards[node.output[0]], slopes).items():
            name = node.input[place]
            if tape.wanted(name):
                parts.setdefault(name, []).append(found)
    return {name: _total(tape, parts[name]) for name in tape.network.params if name in parts}


def _total(tape: Tape, parts: list[str]) -> str:
    """Return the sum of a tensor's slopes, one from each node that reads it."""
    if len(parts) == 1:
        return parts[0]
    return tape.add("Add" if len(parts) == 2 else "Sum", *parts)


def _alive(nodes: list[onnx.NodeProto], outputs: tuple[str, ...]) -> list[onnx.NodeProto]:
    """Return the nodes that an output needs: a runtime would compute the others too."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _name_outputs(tape: Tape, names: dict[str, str]) -> None:
    """Let each output bear its own name, also where two gradients are one and the same tensor."""
    for wished, source in names.items():
        tape.nodes.append(onnx.helper.make_node("Identity", [source], [wished], name=wished))


def _model(
    tape: Tape, network: Network, given: tuple[str, str], outputs: tuple[str, ...], loss: str
) -> onnx.ModelProto:
    helper, kinds = onnx.helper, onnx.TensorProto
    info = helper.make_tensor_value_info
    shape = network.shapes[network.x][1:]
    y, weights = given
    target = info(y, kinds.INT64, ["N"]) if loss == "softmax" else info(y, kinds.FLOAT, ["N", network.outputs])
    shapes: list[list[int | str]] = [[], ["N", network.outputs], [], *(list(v.shape) for v in network.params.values())]
    nodes = _alive(tape.nodes, outputs)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "train",
        [
            info(network.x, network.x_type, ["N", *shape]),
            target,
            info(weights, kinds.FLOAT, ["N"]),
            *(
                info(name, helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape))
                for name, value in network.params.items()
            ),
        ],
        [info(name, kinds.FLOAT, dims) for name, dims in zip(outputs, shapes, strict=True)],
        initialisers(tape.constants, used),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="accord")
