"""A training graph as a `.tflite` model with signatures `train`, `predict` and `prepare`. Knows no operator.

`train` takes x, y, weights and the parameters and gives the loss, the outputs, the metric and the gradients, under the
names and in the shapes of the ONNX graph; `predict` takes x and the parameters and gives the outputs; `prepare` takes
rows as `x` and gives what comes out of the frozen part. Labels are int32, rows on a grid float32, weights on one int8.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx

from quantize.tflite import (
    activations,
    blocking,
    convolution,
    dense,
    elementwise,
    indexing,
    normalisation,
    pooling,
    reductions,
    rounding,
    shaping,
)
from quantize.tflite.elementwise import KIND_OF
from quantize.tflite.graph import Graph
from quantize.tflite.measuring import Measured, measured
from quantize.tflite.packing import packed
from quantize.tflite.table import entry_of
from quantize.tflite.translator import Translator, plain

FAMILIES = (
    activations,
    blocking,
    convolution,
    dense,
    elementwise,
    indexing,
    normalisation,
    pooling,
    reductions,
    rounding,
    shaping,
)
"""Importing a family enters its translations into the table."""


def tflite_model(
    model: onnx.ModelProto,
    input_names: Sequence[str],
    output_names: Sequence[str],
    frozen: onnx.ModelProto | None = None,
) -> bytes:
    """Return the bytes of the model.

    Args:
        model: a training graph.
        input_names: x, y, the weights and the parameters.
        output_names: the loss, the outputs, the metric and the gradients.
        frozen: what x passes through before, of one input and one output; None where nothing is frozen.

    Raises:
        UsageError: an operator has no translation, or `ai-edge-litert` or onnxruntime is not installed.
    """
    facts = measured(model)
    graphs = [
        _translated("train", model, facts, dict.fromkeys(input_names), output_names, weights=input_names[1:]),
        _translated("predict", model, facts, dict.fromkeys(input_names), output_names[1:2], weights=input_names[1:]),
    ]
    if frozen is not None:
        (source,) = (item.name for item in frozen.graph.input)
        (target,) = (item.name for item in frozen.graph.output)
        graphs.append(_translated("prepare", frozen, measured(frozen), {source: "x"}, [target]))
    return packed(graphs)


def _translated(
    name: str,
    model: onnx.ModelProto,
    facts: Mapping[str, Measured],
    inputs: Mapping[str, str | None],
    outputs: Sequence[str],
    *,
    weights: Collection[str] = (),
) -> Graph:
    """Return a subgraph.

    Args:
        name: of its signature.
        model: the ONNX graph.
        facts: of its tensors.
        inputs: of the ONNX graph, each with its name in the signature if that is another; those that the outputs do
            not depend on are left out.
        outputs: of both.
        weights: inputs that stay int8 if they are.
    """
    graph = Graph(name)
    nodes = list(model.graph.node)
    to = Translator(graph, facts, nodes)
    needed = _needed(nodes, facts, outputs)
    read = {*outputs, *(source for node in needed for source in entry_of(node).read(node))}
    for source, named in inputs.items():
        if source not in read:
            continue
        fact = facts[source]
        # Grids are of 8 or 16 bits; labels are wider. Rows on a grid are few, weights on one stay small until they
        # are used.
        weight = fact.dtype == np.int8 and source in weights
        kind = "int8" if weight else "float32" if fact.dtype.itemsize < 4 else KIND_OF[fact.dtype.kind]
        given = plain(graph.input(named or source, fact.shape, kind))
        to.keep(source, to.apply("CAST", given, kind="float32") if weight else given)
    for node in needed:
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
