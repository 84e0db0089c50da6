"""What a TFLite training graph may hold: builtin operators from one list, found by walking the FlatBuffers bytes.

An interpreter trusts the file that it loads, so what it would follow is checked first: every offset, every place of a
tensor, a buffer or an operator. The walk needs no `flatbuffers` on the device. It knows the fields of TFLite's schema
(version 3) that `quantize` writes and refuses every other: custom operators, variables, control flow, buffers outside
the tables, quantized or sparse tensors, unknown fields.
"""

import math
from collections.abc import Sequence
from typing import NoReturn

from accord.bundle.flatbuffer import Buffer, Table
from accord.errors import Refusal

ALLOWED = {
    "ABS": 101,
    "ADD": 0,
    "ARG_MAX": 56,
    "AVERAGE_POOL_2D": 1,
    "BATCH_MATMUL": 126,
    "CAST": 53,
    "CEIL": 104,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "COS": 108,
    "DEPTHWISE_CONV_2D": 4,
    "DIV": 42,
    "EQUAL": 71,
    "EXP": 47,
    "FLOOR": 8,
    "GATHER": 36,
    "GATHER_ND": 107,
    "GREATER": 61,
    "GREATER_EQUAL": 62,
    "LEAKY_RELU": 98,
    "LESS": 58,
    "LESS_EQUAL": 63,
    "LOG": 73,
    "LOGICAL_AND": 86,
    "LOGICAL_NOT": 87,
    "LOGICAL_OR": 84,
    "LOGISTIC": 14,
    "LOG_SOFTMAX": 50,
    "MAXIMUM": 55,
    "MAX_POOL_2D": 17,
    "MEAN": 40,
    "MINIMUM": 57,
    "MUL": 18,
    "NEG": 59,
    "ONE_HOT": 85,
    "PAD": 34,
    "PADV2": 60,
    "POW": 78,
    "REDUCE_MAX": 82,
    "REDUCE_MIN": 89,
    "REDUCE_PROD": 81,
    "RELU": 19,
    "RELU6": 21,
    "RESHAPE": 22,
    "REVERSE_V2": 105,
    "ROUND": 116,
    "SCATTER_ND": 122,
    "SELECT_V2": 123,
    "SHAPE": 77,
    "SIN": 66,
    "SOFTMAX": 25,
    "SQRT": 75,
    "STRIDED_SLICE": 45,
    "SUB": 41,
    "SUM": 74,
    "TANH": 28,
    "TILE": 69,
    "TRANSPOSE": 39,
    "ZEROS_LIKE": 93,
}
"""Operators and their numbers in the schema."""
_NUMBERS = frozenset(ALLOWED.values())

OPTIONS = {
    1: "biibiib",  # Conv2DOptions
    2: "biiibii",  # DepthwiseConv2DOptions
    5: "biiiib",  # Pool2DOptions
    9: "f",  # SoftmaxOptions
    10: "ib",  # ConcatenationOptions
    11: "b?",  # AddOptions
    17: "v",  # ReshapeOptions: a vector of int
    21: "b",  # MulOptions
    23: "ii",  # GatherOptions
    27: "?",  # ReducerOptions
    28: "b?",  # SubOptions
    29: "b",  # DivOptions
    32: "iiiii?",  # StridedSliceOptions
    37: "bb",  # CastOptions
    40: "b",  # ArgMaxOptions
    55: "b",  # ShapeOptions
    61: "i",  # OneHotOptions
    75: "f",  # LeakyReluOptions
    101: "???",  # BatchMatMulOptions
}
"""Options of operators by their number in the union: what each field holds."""

SIGNATURES = 3
"""train, predict, and prepare where a part is frozen."""
_VERSION = 3
_SIZES = {0: 4, 2: 4, 6: 1, 9: 1}
"""Bytes of an element of float32, int32, bool and int8, by the number of the type."""
_BY_FIELDS = 127
_ABSENT = -1


def _refuse(reason: str, detail: str) -> NoReturn:
    raise Refusal(reason, detail)


def _known(table: Table, message: str, fields: Sequence[int]) -> None:
    unknown = table.present() - set(fields)
    if unknown:
        number = min(unknown)
        _refuse("ForbiddenGraph", f"train.tflite holds field {number} of {message}, which a training graph has not")


def _inside(place: int, count: int, what: str) -> int:
    if not 0 <= place < count:
        _refuse("CorruptGraph", f"train.tflite names {what} {place} of {count}")
    return place


def check_builtins(train: bytes) -> int:
    """Check that `train` holds nothing but listed operators; return their number.

    Raises:
        Refusal: `ForbiddenOperator`, `ForbiddenGraph`, `ExternalData` or `CorruptGraph`.
    """
    model = Buffer(train).root(b"TFL3")
    if model.present() & {8, 9}:
        _refuse("ExternalData", "buffers of train.tflite lie in another file")
    _known(model, "Model", (0, 1, 2, 3, 4, 7))
    model.raw(3)
    if model.number(0, "I") != _VERSION:
        _refuse("CorruptGraph", f"train.tflite has version {model.number(0, 'I')} of the schema, not {_VERSION}")
    codes = model.tables(1)
    for code in codes:
        _code(code)
    sizes = [_size(buffer) for buffer in model.tables(4)]
    subgraphs = [_subgraph(subgraph, len(codes), sizes) for subgraph in model.tables(2)]
    if not 1 <= len(subgraphs) <= SIGNATURES:
        _refuse("ForbiddenGraph", f"train.tflite has {len(subgraphs)} subgraphs, not 1 to {SIGNATURES}")
    signatures = model.tables(7)
    if len(signatures) > SIGNATURES:
        _refuse("ForbiddenGraph", f"train.tflite has {len(signatures)} signatures; at most {SIGNATURES}")
    for signature in signatures:
        _signature(signature, [tensors for tensors, _ in subgraphs])
    total = sum(operators for _, operators in subgraphs)
    if not total:
        _refuse("CorruptGraph", "train.tflite holds no operator")
    return total


def _code(code: Table) -> None:
    if 1 in code.present():
        name = bytes(code.raw(1)[:80]).decode("utf-8", "replace")
        _refuse("ForbiddenOperator", f"operator {name!r} of train.tflite is custom code")
    _known(code, "OperatorCode", (0, 2, 3))
    short, number = code.number(0, "b"), code.number(3, "i")
    # Old files have the number in the byte alone; an interpreter takes the larger of the two.
    if max(short, number) not in _NUMBERS or not (short == min(number, _BY_FIELDS) or number == 0):
        _refuse("ForbiddenOperator", f"builtin operator {max(short, number)} is not on the list for training graphs")
    code.number(2, "i")


def _size(buffer: Table) -> int:
    if buffer.present() & {1, 2}:
        _refuse("ExternalData", "a buffer of train.tflite lies outside its table")
    _known(buffer, "Buffer", (0,))
    return len(buffer.raw(0))


def _subgraph(subgraph: Table, codes: int, sizes: list[int]) -> tuple[int, int]:
    """Check a subgraph; return how many tensors and operators it has."""
    _known(subgraph, "SubGraph", (0, 1, 2, 3, 4))
    subgraph.raw(4)
    tensors = subgraph.tables(0)
    for tensor in tensors:
        _tensor(tensor, sizes)
    for field in (1, 2):
        for place in subgraph.numbers(field):
            _inside(place, len(tensors), "tensor")
    operators = subgraph.tables(3)
    for operator in operators:
        _operator(operator, codes, len(tensors))
    return len(tensors), len(operators)


def _tensor(tensor: Table, sizes: list[int]) -> None:
    if tensor.number(5, "?", default=False):
        _refuse("ForbiddenGraph", "train.tflite has a variable: parameters go in and out of a training graph")
    _known(tensor, "Tensor", (0, 1, 2, 3, 5, 7, 8))
    tensor.raw(3)
    tensor.number(8, "?")
    kind = tensor.number(1, "b")
    if kind not in _SIZES:
        _refuse("ForbiddenGraph", f"a tensor of train.tflite has type {kind}, not float32, int32, bool or int8")
    shape, signature = tensor.numbers(0), tensor.numbers(7)
    if any(dim < 0 for dim in shape) or any(dim < -1 for dim in signature) or len(signature) not in (0, len(shape)):
        _refuse("CorruptGraph", "a tensor of train.tflite has an impossible shape")
    size = sizes[_inside(tensor.number(2, "I"), len(sizes), "buffer")]
    if size and size != math.prod(shape) * _SIZES[kind]:
        _refuse("CorruptGraph", f"a constant of train.tflite has {size} bytes, which is not what its shape says")


def _operator(operator: Table, codes: int, tensors: int) -> None:
    _known(operator, "Operator", (0, 1, 2, 3, 4))
    _inside(operator.number(0, "I"), codes, "operator code")
    for place in operator.numbers(1):
        if place != _ABSENT:
            _inside(place, tensors, "tensor")
    for place in operator.numbers(2):
        _inside(place, tensors, "tensor")
    kind, options = operator.number(3, "B"), operator.table(4)
    if (kind == 0) != (options is None):
        _refuse("CorruptGraph", "an operator of train.tflite has options without a type, or a type without options")
    if options is None:
        return
    if kind not in OPTIONS:
        _refuse("ForbiddenGraph", f"an operator of train.tflite has options of type {kind}")
    _known(options, f"options {kind}", range(len(OPTIONS[kind])))
    for number, holds in enumerate(OPTIONS[kind]):
        if holds == "v":
            options.numbers(number)
        else:
            options.number(number, holds)


def _signature(signature: Table, tensors: list[int]) -> None:
    _known(signature, "SignatureDef", (0, 1, 2, 4))
    signature.raw(2)
    count = tensors[_inside(signature.number(4, "I"), len(tensors), "subgraph")]
    for field in (0, 1):
        for pair in signature.tables(field):
            _known(pair, "TensorMap", (0, 1))
            pair.raw(0)
            _inside(pair.number(1, "I"), count, "tensor")
