"""A trained model as one ONNX graph that an app feeds with raw inputs, made from a bundle without `onnx`.

The graph scales its input, holds its parameters as constants, and gives logits for softmax and binary; else it gives
predictions in original units. It is `infer.onnx` with the parameters rounded into it; for tier float the forward part
of `train.onnx`, or the dense stack of a bundle that has none.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.forward import ends, forward_graph
from accord.bundle.int8 import fixed_scales, patched, rounded_tensors
from accord.bundle.manifest import REGRESSIONS
from accord.bundle.protobuf import BYTES, VARINT, read_fields, write_field, write_varint
from accord.bundle.quantization import Quantization
from accord.tensors import Vector
from accord.values import dataclass

INPUT, OUTPUT = "input", "output"
OPSET, IR = 20, 9
"""Of the dense stack; a graph keeps those that `quantize` gave it. Stock onnxruntime reads both from 1.19."""
_INNER = "model/"
"""What the names of the bundle's graph begin with here, so that none of them can be one of ours."""

# Field numbers of onnx.proto3.
_MODEL_IR, _MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA = 1, 7, 8, 14
_GRAPH_NODE, _GRAPH_NAME, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 2, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR = 1, 2, 4
_TENSOR_DIMENSION, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_FLOAT = 1

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """From raw inputs to the model's, (x - mean) * factor per column, and from its outputs to original units.

    `mean` and `factor` are float32 (C,); `transform` is what was done to regression targets before they were scaled:
    none, log or log1p.
    """

    mean: Floats
    factor: Floats
    target_mean: float = 0.0
    target_scale: float = 1.0
    transform: str = "none"


@dataclass(frozen=True, kw_only=True)
class _Body:
    """The model proper: encoded nodes and constants, what it takes and gives, and the fields around its graph."""

    nodes: tuple[bytes, ...]
    constants: tuple[bytes, ...]
    takes: str
    gives: str
    around: bytes


def export(bundle: Bundle, params: Vector, units: Units, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of an ONNX model with the input `input` and the output `output`.

    `input` is float32 (N, *input_shape) and `output` float32 (N, outputs), for any N.

    Args:
        bundle: whose model it is.
        params: trained parameters, float32 (P,).
        units: scaling of C columns: features of (N, F) rows, channels of (N, C, H, W) ones.
        metadata: what any ONNX tool shows beside the model.

    Raises:
        UsageError: the parameters do not fit the bundle's layout.
        Refusal: `CorruptGraph`: the bundle's graph is no protobuf; `CorruptBundle`: its parts contradict one another.
    """
    manifest = bundle.manifest
    if bundle.infer is not None and bundle.quantization is not None:
        body = _int8(bundle, bundle.infer, bundle.quantization, params)
    elif bundle.train is not None:
        body = _forward(bundle, bundle.train, params)
    else:
        body = _dense(bundle, params)
    columns = (1, -1) + (1,) * (len(manifest.input_shape) - 1)
    nodes = [_node("Sub", (INPUT, "mean"), "centred"), _node("Mul", ("centred", "factor"), body.takes), *body.nodes]
    constants = [
        _tensor("mean", units.mean.reshape(columns)),
        _tensor("factor", units.factor.reshape(columns)),
        *body.constants,
    ]
    steps = _original(units) if manifest.loss in REGRESSIONS else []
    name = body.gives
    for place, (operator, value) in enumerate(steps):
        constants += [_tensor(f"step{place}", np.float32(value))] if value is not None else []
        nodes.append(_node(operator, (name, f"step{place}") if value is not None else (name,), f"output{place}"))
        name = f"output{place}"
    nodes.append(_node("Identity", (name,), OUTPUT))
    graph = b"".join(
        [
            *(write_field(_GRAPH_NODE, BYTES, node) for node in nodes),
            _text(_GRAPH_NAME, "accord"),
            *(write_field(_GRAPH_INITIALIZER, BYTES, constant) for constant in constants),
            write_field(_GRAPH_INPUT, BYTES, _value(INPUT, manifest.input_shape)),
            write_field(_GRAPH_OUTPUT, BYTES, _value(OUTPUT, (manifest.outputs,))),
        ]
    )
    notes = [write_field(_MODEL_METADATA, BYTES, _text(1, key) + _text(2, value)) for key, value in metadata.items()]
    return b"".join([body.around, write_field(_MODEL_GRAPH, BYTES, graph), *notes])


def _original(units: Units) -> list[tuple[str, float | None]]:
    """Return the operators that undo the scaling and the transform of targets, each with its constant."""
    undone: dict[str, list[tuple[str, float | None]]] = {
        "none": [],
        "log": [("Exp", None)],
        "log1p": [("Exp", None), ("Sub", 1.0)],
    }
    return [("Mul", units.target_scale), ("Add", units.target_mean), *undone[units.transform]]


def _forward(bundle: Bundle, train: bytes, params: Vector) -> _Body:
    """Cut the forward part out of the training graph, with its parameters as constants."""
    manifest = bundle.manifest
    output = manifest.output_names[1]
    views = manifest.layout.views(params).values()
    given = tuple(_tensor(_INNER + name, view) for name, view in zip(manifest.tensor_names, views, strict=True))
    return _body(forward_graph(train, output), manifest.input_names[0], output, given)


def _int8(bundle: Bundle, infer: bytes, quantization: Quantization, params: Vector) -> _Body:
    """Round the parameters into the int8 model."""
    (source, *_), (output, *_) = ends(infer)
    tensors = rounded_tensors(quantization, bundle.manifest.layout, params, fixed_scales(infer, quantization))
    return _body(forward_graph(patched(infer, tensors), output), source, output, ())


def _body(model: bytes, source: str, output: str, given: tuple[bytes, ...]) -> _Body:
    """Take a model apart, with `given` constants in place of its other inputs."""
    nodes, constants, around = [], [], []
    for number, kind, content in read_fields(memoryview(model)):
        if number != _MODEL_GRAPH:
            around.append(write_field(number, kind, content))
            continue
        for part, _, value in read_fields(content):
            if part == _GRAPH_NODE:
                nodes.append(_renamed(value, (_NODE_INPUT, _NODE_OUTPUT)))
            elif part == _GRAPH_INITIALIZER:
                constants.append(_renamed(value, (_TENSOR_NAME,)))
    return _Body(
        nodes=tuple(nodes),
        constants=(*constants, *given),
        takes=_INNER + source,
        gives=_INNER + output,
        around=b"".join(around),
    )


def _dense(bundle: Bundle, params: Vector) -> _Body:
    """Write the dense stack that the NumPy runtime trains: weights (in, out) and biases, ReLU between."""
    views = bundle.manifest.layout.views(params)
    names = list(views)
    nodes = [_node("Flatten", (_INNER + "x",), _INNER + "0")]
    layers = list(zip(names[::2], names[1::2], strict=True))
    at = _INNER + "0"
    for place, (weight, bias) in enumerate(layers, 1):
        product, summed, after = (f"{_INNER}{place}{part}" for part in (".product", ".sum", ""))
        nodes += [_node("MatMul", (at, _INNER + weight), product), _node("Add", (product, _INNER + bias), summed)]
        last = place == len(layers)
        nodes += [] if last else [_node("Relu", (summed,), after)]
        at = summed if last else after
    opset = _text(1, "") + write_field(2, VARINT, write_varint(OPSET))
    return _Body(
        nodes=tuple(nodes),
        constants=tuple(_tensor(_INNER + name, view) for name, view in views.items()),
        takes=_INNER + "x",
        gives=at,
        around=write_field(_MODEL_IR, VARINT, write_varint(IR)) + write_field(_MODEL_OPSET, BYTES, opset),
    )


def _renamed(content: memoryview, fields: tuple[int, ...]) -> bytes:
    """Return a node or a tensor whose names begin with `_INNER`; an empty name is an argument left out."""
    return b"".join(
        write_field(number, kind, _INNER.encode() + bytes(value) if number in fields and len(value) else value)
        for number, kind, value in read_fields(content)
    )


def _text(number: int, text: str) -> bytes:
    return write_field(number, BYTES, text.encode())


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    given = b"".join(_text(_NODE_INPUT, name) for name in inputs)
    return given + _text(_NODE_OUTPUT, output) + _text(_NODE_OPERATOR, operator)


def _tensor(name: str, values: npt.ArrayLike) -> bytes:
    array = np.asarray(values, "<f4")
    shape = b"".join(write_field(_TENSOR_DIMENSION, VARINT, write_varint(size)) for size in array.shape)
    kind = write_field(_TENSOR_TYPE, VARINT, write_varint(_FLOAT))
    return shape + kind + _text(_TENSOR_NAME, name) + write_field(_TENSOR_RAW, BYTES, array.tobytes())


def _value(name: str, row: tuple[int, ...]) -> bytes:
    """Return the description of a float32 tensor of any number of rows."""
    sizes = [_text(2, "N"), *(write_field(1, VARINT, write_varint(size)) for size in row)]
    shape = b"".join(write_field(1, BYTES, size) for size in sizes)
    tensor = write_field(1, VARINT, write_varint(_FLOAT)) + write_field(2, BYTES, shape)
    return _text(1, name) + write_field(2, BYTES, write_field(1, BYTES, tensor))
