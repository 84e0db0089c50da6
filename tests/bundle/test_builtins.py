"""A TFLite graph may hold listed builtin operators and nothing else; one refusal by name for everything it may not."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from accord.bundle.archive import read_bundle, write_bundle
from accord.bundle.builtins import ALLOWED, OPTIONS, check_builtins
from accord.errors import Refusal
from tests.runtimes.bundles import CASES, bundle_of

BUNDLES = {case.model: bundle_of(case) for case in CASES[:8]}
LINEAR = BUNDLES["linear"].tflite or b""


def packed(model: Any) -> bytes:
    import flatbuffers  # noqa: PLC0415 - comes with the schema

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def unpacked() -> Any:
    return schema.ModelT.InitFromPackedBuf(LINEAR, 0)


def refused(data: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        check_builtins(data)
    return caught.value.reason


@pytest.mark.parametrize("name", list(BUNDLES))
def test_what_quantize_writes_passes(name: str) -> None:
    data = BUNDLES[name].tflite
    assert data is not None
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    assert check_builtins(data) == sum(len(subgraph.operators) for subgraph in model.subgraphs)


def test_the_numbers_are_those_of_the_schema() -> None:
    assert {name: getattr(schema.BuiltinOperator, name) for name in ALLOWED} == ALLOWED
    names = {number: name for name, number in vars(schema.BuiltinOptions).items() if name[0] != "_"}
    for number, fields in OPTIONS.items():
        options = vars(getattr(schema, f"{names[number]}T")())
        assert len(options) == len(fields), names[number]


def change_operator(model: Any) -> None:
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.WHILE
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE


def hide_operator(model: Any) -> None:
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.WHILE


def add_custom_code(model: Any) -> None:
    model.operatorCodes[0].customCode = "FlexWriteFile"


def add_custom_options(model: Any) -> None:
    model.subgraphs[0].operators[0].customOptions = [1, 2, 3]


def add_second_options(model: Any) -> None:
    operator = model.subgraphs[0].operators[0]
    operator.builtinOptions2Type = schema.BuiltinOptions2.StablehloWhileOptions
    operator.builtinOptions2 = schema.StablehloWhileOptionsT()


def change_options(model: Any) -> None:
    operator = model.subgraphs[0].operators[0]
    operator.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    operator.builtinOptions = schema.WhileOptionsT()


def add_variable(model: Any) -> None:
    model.subgraphs[0].tensors[0].isVariable = True


def add_quantization(model: Any) -> None:
    model.subgraphs[0].tensors[0].quantization = schema.QuantizationParametersT()


def change_type(model: Any) -> None:
    model.subgraphs[0].tensors[0].type = schema.TensorType.RESOURCE


def add_metadata(model: Any) -> None:
    model.metadata = [schema.MetadataT()]


def add_subgraphs(model: Any) -> None:
    model.subgraphs = model.subgraphs * 2


def add_external(model: Any) -> None:
    model.externalBufferGroups = [schema.ExternalBufferGroupT()]


def move_buffer(model: Any) -> None:
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 4096, 4096


def point_at_no_tensor(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = [9_999]


def write_no_tensor(model: Any) -> None:
    model.subgraphs[0].operators[0].outputs = [-1]


def feed_no_tensor(model: Any) -> None:
    model.subgraphs[0].inputs = [-5]


def point_at_no_buffer(model: Any) -> None:
    model.subgraphs[0].tensors[0].buffer = 9_999


def point_at_no_code(model: Any) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 9_999


def sign_no_tensor(model: Any) -> None:
    model.signatureDefs[0].inputs[0].tensorIndex = 9_999


def sign_no_subgraph(model: Any) -> None:
    model.signatureDefs[0].subgraphIndex = 7


def shorten_constant(model: Any) -> None:
    tensor = next(tensor for tensor in model.subgraphs[0].tensors if tensor.buffer)
    tensor.shape = [100_000]


def leave_no_operator(model: Any) -> None:
    for subgraph in model.subgraphs:
        subgraph.operators = []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_operator, "ForbiddenOperator"),
        (hide_operator, "ForbiddenOperator"),
        (add_custom_code, "ForbiddenOperator"),
        (add_custom_options, "ForbiddenGraph"),
        (add_second_options, "ForbiddenGraph"),
        (change_options, "ForbiddenGraph"),
        (add_variable, "ForbiddenGraph"),
        (add_quantization, "ForbiddenGraph"),
        (change_type, "ForbiddenGraph"),
        (add_metadata, "ForbiddenGraph"),
        (add_subgraphs, "ForbiddenGraph"),
        (add_external, "ExternalData"),
        (move_buffer, "ExternalData"),
        (point_at_no_tensor, "CorruptGraph"),
        (write_no_tensor, "CorruptGraph"),
        (feed_no_tensor, "CorruptGraph"),
        (point_at_no_buffer, "CorruptGraph"),
        (point_at_no_code, "CorruptGraph"),
        (sign_no_tensor, "CorruptGraph"),
        (sign_no_subgraph, "CorruptGraph"),
        (shorten_constant, "CorruptGraph"),
        (leave_no_operator, "CorruptGraph"),
    ],
    ids=lambda part: part.__name__ if callable(part) else part,
)
def test_what_a_graph_may_not_hold(change: Callable[[Any], None], reason: str) -> None:
    model = unpacked()
    assert check_builtins(packed(model)) > 0
    change(model)
    assert refused(packed(model)) == reason


def test_a_bundle_with_such_a_graph_does_not_open() -> None:
    bundle = BUNDLES["linear"]
    model = unpacked()
    add_custom_code(model)
    data = write_bundle(
        bundle.manifest, params=bundle.params, golden=bundle.golden, train=bundle.train, tflite=packed(model)
    )
    with pytest.raises(Refusal, match="custom code") as caught:
        read_bundle(data)
    assert caught.value.reason == "ForbiddenOperator"


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0TFL3", b"\xff" * 40, b"\x08\0\0\0TFL3" + bytes(20)])
def test_bytes_that_are_no_graph(data: bytes) -> None:
    assert refused(data) == "CorruptGraph"


def test_a_file_that_ends_early_is_refused() -> None:
    # flatbuffers' writer puts what is written first at the end: nearly every cut takes something away that is needed.
    for end in range(0, len(LINEAR) - 8, 7):
        assert refused(LINEAR[:end]) == "CorruptGraph"


def test_shared_tables_cost_no_endless_work() -> None:
    # Two subgraphs that share one vector of a hundred thousand operators, which is one operator again and again.
    model = unpacked()
    operators = model.subgraphs[0].operators
    model.subgraphs[0].operators = operators * (1_100_000 // len(operators))
    assert refused(packed_quickly(model)) == "CorruptGraph"


def packed_quickly(model: Any) -> bytes:
    """Pack a model whose first subgraph repeats its operators, each of them written once."""
    import flatbuffers  # noqa: PLC0415 - comes with the schema

    class Once:
        def __init__(self, operator: Any) -> None:
            self.operator, self.place = operator, 0

        def Pack(self, builder: Any) -> int:  # noqa: N802 - the schema's own name
            self.place = self.place or self.operator.Pack(builder)
            return self.place

    known: dict[int, Once] = {}
    for subgraph in model.subgraphs:
        subgraph.operators = [known.setdefault(id(operator), Once(operator)) for operator in subgraph.operators]
    builder = flatbuffers.Builder(1 << 23)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@given(st.binary(max_size=40), st.integers(0, len(LINEAR)), st.integers(0, 1))
def test_noise_never_escapes_as_another_error(noise: bytes, at: int, over: int) -> None:
    with contextlib.suppress(Refusal):
        assert check_builtins(LINEAR[:at] + noise + LINEAR[at + over * len(noise) :]) > 0
