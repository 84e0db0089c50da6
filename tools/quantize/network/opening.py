"""The first step: one output of a model file, at our opset, without Constant, Identity and Dropout nodes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from accord.errors import UsageError
from quantize.network.draft import OPSET, Draft

Array = npt.NDArray[Any]

OLDEST = 13
_PLAIN = ("", "ai.onnx")
_PASSED_THROUGH = frozenset({"Identity", "Dropout"})
_REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
_CONTROL = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_INTEGERS = (TensorProto.INT64, TensorProto.INT32)


def open_model(model: onnx.ModelProto, input_shape: tuple[int, ...]) -> Draft:
    """Return the draft of an ONNX model: the nodes that its first float32 output needs.

    Args:
        model: opset 13 or later, one input of float32, int64 or int32.
        input_shape: one row's.

    Raises:
        UsageError: the model has another form, or is not valid ONNX.
    """
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph, notes = cut.graph, []
    output = _float_output(graph)
    if len(graph.output) > 1:
        notes.append(f"of {len(graph.output)} outputs, {output.name!r} is trained and the others were left out")
    del graph.output[:]
    graph.output.append(output)
    nodes = _needed(list(graph.node), output.name)
    del graph.node[:]
    graph.node.extend(nodes)
    _refuse_foreign(graph)
    graph = _at_opset(cut).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    given = [item for item in graph.input if item.name not in constants]
    read = {name for node in graph.node for name in node.input}
    inputs = [item for item in given if item.name in read] or given
    if len(inputs) != 1:
        raise UsageError(
            f"the model has inputs {[item.name for item in inputs]}: a training bundle needs a model with one input"
        )
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, *_INTEGERS):
        name = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        raise UsageError(f"the model's input {inputs[0].name!r} is {name}: export it with float32, int64 or int32")
    stored = _floats(constants)
    plain, aliases = _plain_nodes(graph, constants)
    return Draft(
        nodes=plain,
        constants=constants,
        # An exporter that has no initialisers writes weights as Constant nodes; for others, those are just numbers.
        weights=stored if any(constants[name].size > 1 for name in stored) else _floats(constants),
        x=inputs[0].name,
        x_kind=kind,
        output=aliases.get(output.name, output.name),
        input_shape=input_shape,
        traced=inputs[0].type.tensor_type.shape.dim[0].dim_value if inputs[0].type.tensor_type.shape.dim else 0,
        notes=notes,
    )


def _floats(constants: Mapping[str, Array]) -> set[str]:
    return {name for name, value in constants.items() if value.dtype == np.float32}


def _float_output(graph: onnx.GraphProto) -> onnx.ValueInfoProto:
    """Return the first output that holds float32: scikit-learn's exporter puts labels before it."""
    if not graph.output:
        raise UsageError("the model has no output")
    floats = [output for output in graph.output if output.type.tensor_type.elem_type == TensorProto.FLOAT]
    if not floats:
        names = ", ".join(output.name for output in graph.output)
        raise UsageError(
            f"no output of the model ({names}) is a float32 tensor: "
            "from scikit-learn, export with options={'zipmap': False}"
        )
    output: onnx.ValueInfoProto = floats[0]
    return output


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            wanted.update(_outer_names(node))
            kept.append(node)
    return kept[::-1]


def _outer_names(node: onnx.NodeProto) -> set[str]:
    """Return the names that the bodies of a control-flow node read."""
    bodies = [item.g for item in node.attribute if item.type == onnx.AttributeProto.GRAPH]
    return {name for body in bodies for inner in body.node for name in (*inner.input, *_outer_names(inner))}


def _refuse_foreign(graph: onnx.GraphProto) -> None:
    for node in graph.node:
        where = f"node {node.name or node.output[0]!r}: operator {node.op_type}"
        if node.domain == "ai.onnx.ml":
            raise UsageError(
                f"{where} of ai.onnx.ml has no gradient: of scikit-learn's models, those that export as matrix "
                "products can be trained (MLPClassifier, MLPRegressor)"
            )
        if node.domain not in _PLAIN:
            raise UsageError(f"{where} of {node.domain} is not plain ONNX: export the model without it")
        if node.op_type in _CONTROL:
            raise UsageError(f"{where} is control flow, which a training graph has not: export the model unrolled")


def _at_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    version = next((item.version for item in model.opset_import if item.domain in _PLAIN), 0)
    for item in [item for item in model.opset_import if item.domain not in _PLAIN]:
        model.opset_import.remove(item)
    if version < OLDEST:
        raise UsageError(f"the model is written for opset {version}: export it for opset {OLDEST} or later")
    try:
        onnx.checker.check_model(model)
        if version == OPSET or (version > OPSET and _unchanged_since(model.graph, version)):
            return model
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the checker and the converter raise classes of their own and RuntimeError
        raise UsageError(f"the model can't be read as ONNX opset {OPSET}: {str(error)[:300]}") from error


def _unchanged_since(graph: onnx.GraphProto, version: int) -> bool:
    """Tell whether every operator of a later opset takes and gives float32, int64 and booleans as it did at ours."""
    return all(
        onnx.defs.get_schema(node.op_type, version, "").since_version <= OPSET or _same_form(node.op_type, version)
        for node in graph.node
    )


def _same_form(operator: str, version: int) -> bool:
    """Tell whether two versions of an operator differ in the types that they allow only."""
    try:
        ours, theirs = (onnx.defs.get_schema(operator, number, "") for number in (OPSET, version))
    except onnx.defs.SchemaError:
        return False
    places = [[(item.name, item.option) for item in (*s.inputs, *s.outputs)] for s in (ours, theirs)]
    return places[0] == places[1] and set(ours.attributes) == set(theirs.attributes)


def _plain_nodes(graph: onnx.GraphProto, constants: dict[str, Array]) -> tuple[list[onnx.NodeProto], dict[str, str]]:
    """Return the nodes without Constant, Identity and Dropout, and the names that stand for others."""
    nodes: list[onnx.NodeProto] = []
    aliases: dict[str, str] = {}
    for original in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        for place, name in enumerate(node.input):
            node.input[place] = aliases.get(name, name)
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant_value(node)
        elif node.op_type in _PASSED_THROUGH or _reduces_nothing(node):
            aliases[node.output[0]] = node.input[0]
        else:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            node.name = node.name or f"{node.op_type}_{len(nodes)}"
            nodes.append(node)
    return nodes, aliases


def _reduces_nothing(node: onnx.NodeProto) -> bool:
    """Tell whether a reduction is asked to leave everything as it is: onnxruntime 1.23 fails at that."""
    noop = any(item.name == "noop_with_empty_axes" and item.i for item in node.attribute)
    return node.op_type in _REDUCTIONS and noop and not any(node.input[1:])


def _constant_value(node: onnx.NodeProto) -> Array:
    for item in node.attribute:
        if item.name == "value":
            return numpy_helper.to_array(item.t)
        if item.name in ("value_float", "value_floats"):
            return np.array(onnx.helper.get_attribute_value(item), np.float32)
        if item.name in ("value_int", "value_ints"):
            return np.array(onnx.helper.get_attribute_value(item), np.int64)
    raise UsageError(f"constant {node.output[0]!r} holds no numbers")


LAST: Mapping[str, str] = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "binary"}
"""Operators that a loss has inside: a model that ends with one is trained on what goes into it."""


def take_off_last(draft: Draft, loss: str) -> None:
    """Let the draft end before a last activation that the loss has inside.

    Raises:
        UsageError: no node computes the output.
    """
    last = next((node for node in draft.nodes if draft.output in node.output), None)
    if last is None:
        raise UsageError("the model's output is computed by no node")
    pair = _complement(draft, last)
    if pair:
        if loss != "binary":
            raise UsageError(
                "the model ends with a probability and one minus it, as scikit-learn's exporter writes two classes: "
                "train it with --loss binary --outputs 1"
            )
        draft.output = pair
        draft.keep_needed()
        draft.notes.append("the last Concat of 1 - p and p was taken off: loss binary trains p alone")
        take_off_last(draft, loss)
    elif LAST.get(last.op_type) == loss:
        draft.nodes.remove(last)
        draft.output = last.input[0]
        draft.notes.append(
            f"the last {last.op_type} was taken off: loss {loss} has it inside, and the outputs are what goes into it"
        )


def _complement(draft: Draft, last: onnx.NodeProto) -> str:
    """Return p of a node that puts 1 - p and p side by side, where p is a Sigmoid; "" for any other."""
    makers = {name: node for node in draft.nodes for name in node.output}
    if last.op_type != "Concat" or len(last.input) != 2:
        return ""
    rest, chance = (makers.get(name) for name in last.input)
    if rest is None or chance is None or rest.op_type != "Sub" or chance.op_type != "Sigmoid":
        return ""
    one = draft.constants.get(rest.input[0])
    whole = one is not None and one.size == 1 and float(one.reshape(())) == 1.0
    return str(chance.output[0]) if whole and rest.input[1] == chance.output[0] else ""
