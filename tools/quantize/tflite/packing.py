"""Subgraphs to the bytes of a `.tflite` file, through LiteRT's schema. Chooses no operator.

The schema is that of `ai-edge-litert`; TensorFlow is not needed.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from accord.errors import UsageError
from quantize.tflite.graph import Graph, Operator, Shape, Tensor

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "GATHER": "GatherOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "ONE_HOT": "OneHotOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "SHAPE": "ShapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
}
"""Operators whose options a runtime reads; the others have none that matter."""


def load_schema() -> ModuleType:
    """Import LiteRT's schema.

    Raises:
        UsageError: `ai-edge-litert` is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated  # noqa: PLC0415 - half a second, and only for this
    except ImportError as error:
        raise UsageError("a .tflite graph needs ai-edge-litert: pip install 'accord-fl[litert]'") from error
    return schema_py_generated  # type: ignore[no-any-return]


def packed(graphs: Sequence[Graph]) -> bytes:
    """Return the bytes of a model with one subgraph and one signature for each graph, in order.

    Raises:
        UsageError: `ai-edge-litert` is not installed.
    """
    import flatbuffers  # noqa: PLC0415 - comes with ai-edge-litert

    schema = load_schema()
    model = schema.ModelT()
    model.version = SCHEMA_VERSION
    model.description = "accord"
    codes: dict[str, int] = {}
    buffers = [schema.BufferT()]  # the first one is empty by the schema's rule
    places: dict[bytes, int] = {}
    model.subgraphs, model.signatureDefs = [], []
    for place, graph in enumerate(graphs):
        operators, tensors = graph.needed()
        index = {tensor.index: at for at, tensor in enumerate(tensors)}
        names = {tensor.index: name for name, tensor in (*graph.outputs.items(), *graph.inputs.items())}
        subgraph = schema.SubGraphT()
        subgraph.name = graph.name
        subgraph.tensors = [_tensor(schema, t, names.get(t.index, ""), buffers, places) for t in tensors]
        subgraph.operators = [_operator(schema, operator, index, codes) for operator in operators]
        subgraph.inputs = [index[tensor.index] for tensor in graph.inputs.values()]
        subgraph.outputs = [index[tensor.index] for tensor in graph.outputs.values()]
        model.subgraphs.append(subgraph)
        model.signatureDefs.append(_signature(schema, graph, index, place))
    model.operatorCodes = [_code(schema, name) for name in codes]
    model.buffers = buffers
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _tensor(schema: ModuleType, tensor: Tensor, name: str, buffers: list[Any], places: dict[bytes, int]) -> Any:
    made = schema.TensorT()
    made.name = name
    made.shape = list(_at_one_row(tensor.shape))
    made.hasRank = True
    if any(dim < 0 for dim in tensor.shape):
        made.shapeSignature = [max(dim, -1) for dim in tensor.shape]
    made.type = getattr(schema.TensorType, tensor.kind.upper())
    made.buffer = 0
    if tensor.data is not None:
        data = tensor.data.astype(tensor.data.dtype.newbyteorder("<")).tobytes()
        if data not in places:
            places[data] = len(buffers)
            buffers.append(schema.BufferT())
            buffers[-1].data = np.frombuffer(data, np.uint8)
        made.buffer = places[data]
    return made


def _at_one_row(shape: Shape) -> Shape:
    return tuple(abs(dim) for dim in shape)


def _operator(schema: ModuleType, operator: Operator, index: dict[int, int], codes: dict[str, int]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = codes.setdefault(operator.name, len(codes))
    made.inputs = [-1 if tensor is None else index[tensor.index] for tensor in operator.inputs]
    made.outputs = [index[operator.output.index]]
    options = OPTIONS.get(operator.name)
    if options is not None:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        made.builtinOptions = getattr(schema, f"{options}T")()
        for field, value in operator.options.items():
            assert hasattr(made.builtinOptions, field), f"{options} has no field {field}"
            setattr(made.builtinOptions, field, value)
    else:
        assert not operator.options, f"the options of {operator.name} are not known"
    return made


def _code(schema: ModuleType, name: str) -> Any:
    made = schema.OperatorCodeT()
    code = getattr(schema.BuiltinOperator, name)
    made.builtinCode = code
    made.deprecatedBuiltinCode = min(code, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    made.version = 1
    return made


def _signature(schema: ModuleType, graph: Graph, index: dict[int, int], place: int) -> Any:
    made = schema.SignatureDefT()
    made.signatureKey = graph.name
    made.subgraphIndex = place
    made.inputs = [_named(schema, name, index[tensor.index]) for name, tensor in graph.inputs.items()]
    made.outputs = [_named(schema, name, index[tensor.index]) for name, tensor in graph.outputs.items()]
    return made


def _named(schema: ModuleType, name: str, index: int) -> Any:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name, index
    return made
