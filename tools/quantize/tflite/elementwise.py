"""Translations of operators that work cell by cell."""

import numpy as np
import onnx

from quantize.differentiate.tape import attribute
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value

_ONE = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "LOGICAL_NOT",
    "Relu": "RELU",
    "Round": "ROUND",
    "Sigmoid": "LOGISTIC",
    "Sin": "SIN",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
_MANY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Pow": "POW", "Max": "MAXIMUM", "Min": "MINIMUM"}
_COMPARED = {
    "And": "LOGICAL_AND",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Or": "LOGICAL_OR",
}


def _values(to: Translator, node: onnx.NodeProto) -> list[Value]:
    return [to.value(name) for name in node.input if name]


@translation(*_ONE)
def one(to: Translator, node: onnx.NodeProto) -> Value:
    """The builtin operator of another name."""
    return to.apply(_ONE[node.op_type], to.value(node.input[0]))


@translation(*_MANY)
def many(to: Translator, node: onnx.NodeProto) -> Value:
    """The builtin operator of another name; of more than two values one after another."""
    found, *others = _values(to, node)
    for other in others:
        found = to.apply(_MANY[node.op_type], found, as_kind(to, other, found.tensor.kind))
    return found


@translation("Sum", "Mean")
def summed(to: Translator, node: onnx.NodeProto) -> Value:
    """The values added up; for Mean, times 1 / their number."""
    found, *others = _values(to, node)
    for other in others:
        found = to.apply("ADD", found, other)
    share = to.of(np.float32(1 / (1 + len(others))))
    return to.apply("MUL", found, share) if node.op_type == "Mean" and others else found


@translation(*_COMPARED)
def compared(to: Translator, node: onnx.NodeProto) -> Value:
    """The builtin operator of another name, which gives truth values."""
    return to.apply(_COMPARED[node.op_type], *_values(to, node), kind="bool")


@translation("Where")
def where(to: Translator, node: onnx.NodeProto) -> Value:
    """SELECT_V2."""
    condition, yes, no = _values(to, node)
    return to.apply("SELECT_V2", condition, yes, no, kind=yes.tensor.kind)


@translation("Reciprocal")
def reciprocal(to: Translator, node: onnx.NodeProto) -> Value:
    """1 / x."""
    return to.apply("DIV", to.of(np.float32(1.0)), to.value(node.input[0]))


@translation("LeakyRelu")
def leaky_relu(to: Translator, node: onnx.NodeProto) -> Value:
    """LEAKY_RELU."""
    return to.apply("LEAKY_RELU", to.value(node.input[0]), alpha=float(attribute(node, "alpha", 0.01)))


@translation("PRelu")
def prelu(to: Translator, node: onnx.NodeProto) -> Value:
    """max(x, 0) + a·min(x, 0): the builtin operator takes only slopes per channel."""
    x, slope = _values(to, node)
    zero = to.of(np.float32(0.0))
    low = to.apply("MUL", to.apply("MINIMUM", x, zero), slope)
    return to.apply("ADD", to.apply("RELU", x), low)


@translation("Sign")
def sign(to: Translator, node: onnx.NodeProto) -> Value:
    """(x > 0) - (x < 0): older runtimes have no SIGN."""
    x, zero = to.value(node.input[0]), to.of(np.float32(0.0))
    sides = [to.apply(name, x, zero, kind="bool") for name in ("GREATER", "LESS")]
    return to.apply("SUB", *(as_kind(to, side, "float32") for side in sides))


@translation("Clip")
def clip(to: Translator, node: onnx.NodeProto) -> Value:
    """RELU6 where the bounds are 0 and 6, else MAXIMUM and MINIMUM."""
    x = to.value(node.input[0])
    bounds = [name or None for name in (*node.input[1:3], "", "")[:2]]
    known = [None if name is None else to.known(name) for name in bounds]
    if known[0] is not None and known[1] is not None and (float(known[0]), float(known[1])) == (0.0, 6.0):
        return to.apply("RELU6", x)
    for operator, name in zip(("MAXIMUM", "MINIMUM"), bounds, strict=True):
        if name is not None:
            x = to.apply(operator, x, to.value(name))
    return x


@translation("Softmax", "LogSoftmax")
def softmax(to: Translator, node: onnx.NodeProto) -> Value:
    """SOFTMAX or LOG_SOFTMAX, which work along the last axis in memory."""
    x = to.value(node.input[0])
    axis = int(attribute(node, "axis", -1)) % x.rank
    order = (*(other for other in x.order if other != axis), axis)
    tensor = to.in_order(x, order)
    if node.op_type == "Softmax":
        return Value(tensor=to.graph.add("SOFTMAX", [tensor], tensor.shape, beta=1.0), order=order)
    return Value(tensor=to.graph.add("LOG_SOFTMAX", [tensor], tensor.shape), order=order)


@translation("Cast")
def cast(to: Translator, node: onnx.NodeProto) -> Value:
    """CAST; between kinds of floats, or of whole numbers, nothing."""
    x = to.value(node.input[0])
    return as_kind(to, x, KIND_OF[onnx.helper.tensor_dtype_to_np_dtype(attribute(node, "to", 1)).kind])


KIND_OF = {"b": "bool", "i": "int32", "u": "int32", "f": "float32"}


def as_kind(to: Translator, x: Value, kind: str) -> Value:
    """Return `x` as another kind."""
    if x.tensor.data is not None and x.tensor.kind != kind:
        return Value(tensor=to.graph.constant(x.tensor.data, kind), order=x.order)
    return x if x.tensor.kind == kind else to.apply("CAST", x, kind=kind)


@translation("Identity", "Dropout")
def identity(to: Translator, node: onnx.NodeProto) -> Value:
    """Nothing."""
    return to.value(node.input[0])
