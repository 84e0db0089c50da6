"""A training graph as a `.tflite` model with two signatures: `train` and `predict`. Knows no operator.

`train` takes x, y and the parameters and gives the loss, the outputs and the gradients, under the names and in the
shapes of the ONNX graph; `predict` takes x and the parameters and gives the outputs. Labels are int32.
"""

from collections.abc import Mapping, Sequence

import onnx

from quantize.tflite import (
    convolution,
    dense,
    elementwise,
    indexing,
    normalisation,
    pooling,
    reductions,
    shaping,
)
from quantize.tflite.elementwise import KIND_OF
from quantize.tflite.graph import Graph
from quantize.tflite.measuring import Measured, measured
from quantize.tflite.packing import packed
from quantize.tflite.table import entry_of
from quantize.tflite.translator import Translator, plain

FAMILIES = (convolution, dense, elementwise, indexing, normalisation, pooling, reductions, shaping)
"""Importing a family enters its translations into the table."""


def tflite_model(model: onnx.ModelProto, input_names: Sequence[str], output_names: Sequence[str]) -> bytes:
    """Return the bytes of the model.

    Args:
        model: a training graph.
        input_names: x, y and the parameters.
        output_names: the loss, the outputs and the gradients.

    Raises:
        UsageError: an operator has no translation, or `ai-edge-litert` or onnxruntime is not installed.
    """
    facts = measured(model)
    x, _, *params = input_names
    return packed(
        [
            _translated("train", model, facts, input_names, output_names),
            _translated("predict", model, facts, [x, *params], output_names[1:2]),
        ]
    )


def _translated(
    name: str,
    model: onnx.ModelProto,
    facts: Mapping[str, Measured],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Graph:
    graph = Graph(name)
    nodes = list(model.graph.node)
    to = Translator(graph, facts, nodes)
    for source in inputs:
        fact = facts[source]
        to.keep(source, plain(graph.input(source, fact.shape, KIND_OF[fact.dtype.kind])))
    for node in _needed(nodes, facts, outputs):
        to.keep(node.output[0], entry_of(node).function(to, node))
    for target in outputs:
        tensor = to.plain(to.value(target))
        # A copy: each output has a tensor of its own, also where two are one and the same, or an input.
        shape = [max(dim, -1) for dim in tensor.shape]
        graph.outputs[target] = graph.add("RESHAPE", [tensor, to.whole(shape)], tensor.shape, newShape=shape)
    return graph


def _needed(
    nodes: Sequence[onnx.NodeProto], facts: Mapping[str, Measured], outputs: Sequence[str]
) -> list[onnx.NodeProto]:
    """Return the nodes that the outputs depend on and that depend on an input themselves, in order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output) and facts[node.output[0]].value is None:
            wanted.update(entry_of(node).read(node))
            kept.append(node)
    return kept[::-1]
