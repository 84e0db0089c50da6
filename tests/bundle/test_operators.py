"""A training graph may hold plain operators and nothing else; one refusal by name for everything it may not hold."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from accord.bundle.forward import forward_graph
from accord.bundle.operators import ALLOWED, check_operators
from accord.errors import Refusal

INFO = helper.make_tensor_value_info


def graph() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["o"], name="first"),
        helper.make_node("Sub", ["o", "y"], ["gap"]),
        helper.make_node("ReduceSum", ["gap", "axes"], ["loss"], keepdims=0),
    ]
    inputs = [INFO(name, TensorProto.FLOAT, ["N", 2]) for name in ("x", "y")]
    inputs.append(INFO("w", TensorProto.FLOAT, [2, 2]))
    outputs = [INFO("loss", TensorProto.FLOAT, []), INFO("o", TensorProto.FLOAT, ["N", 2])]
    constants = [numpy_helper.from_array(np.array([0, 1]), "axes")]
    body = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def test_a_plain_graph_passes() -> None:
    assert check_operators(graph().SerializeToString()) == 3


def test_every_name_on_the_list_is_an_operator() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert known >= ALLOWED


def change_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Loop"


def change_domain(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"


def import_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx.contrib", 1))


def add_external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def add_external_in_attribute(model: onnx.ModelProto) -> None:
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))


def add_subgraph(model: onnx.ModelProto) -> None:
    body = onnx.GraphProto(name="inner")
    model.graph.node[0].attribute.append(helper.make_attribute("body", body))


def add_function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="local")


def add_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props.add(key="a", value="b")


def add_sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add(dims=[1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_operator, "ForbiddenOperator"),
        (change_domain, "ForbiddenDomain"),
        (import_domain, "ForbiddenDomain"),
        (add_external, "ExternalData"),
        (add_external_in_attribute, "ExternalData"),
        (add_subgraph, "ForbiddenGraph"),
        (add_function, "ForbiddenGraph"),
        (add_metadata, "ForbiddenGraph"),
        (add_sparse, "ForbiddenGraph"),
    ],
)
def test_what_a_graph_may_not_hold(change: Callable[[onnx.ModelProto], Any], reason: str) -> None:
    model = graph()
    change(model)
    with pytest.raises(Refusal) as caught:
        check_operators(model.SerializeToString())
    assert caught.value.reason == reason


def test_a_second_graph_field_hides_nothing() -> None:
    # protobuf merges two graph fields into one, and keeps the last of two operator names: both are looked at.
    other = onnx.ModelProto()
    other.graph.node.append(helper.make_node("Loop", [], []))
    with pytest.raises(Refusal, match="Loop"):
        check_operators(graph().SerializeToString() + other.SerializeToString())
    twice = onnx.NodeProto(op_type="Add").SerializeToString() + onnx.NodeProto(op_type="Loop").SerializeToString()
    swapped = onnx.NodeProto(op_type="Loop").SerializeToString() + onnx.NodeProto(op_type="Add").SerializeToString()
    for node in (twice, swapped):
        body = b"\x0a" + bytes([len(node)]) + node
        with pytest.raises(Refusal, match="Loop"):
            check_operators(b"\x3a" + bytes([len(body)]) + body)


@pytest.mark.parametrize("data", [b"", b"\x08\x09", b"\xff", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\xff" * 20])
def test_bytes_that_are_no_graph(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        check_operators(data)
    assert caught.value.reason in ("CorruptGraph", "ForbiddenGraph")


@given(st.binary(max_size=200), st.integers(0, 400))
def test_noise_never_escapes_as_another_error(noise: bytes, at: int) -> None:
    data = graph().SerializeToString()
    for broken in (noise, data[:at] + noise + data[at:], data[:at]):
        with contextlib.suppress(Refusal):
            check_operators(broken)
            forward_graph(broken, "o")


def test_the_forward_part_is_a_valid_model_of_its_own() -> None:
    forward = onnx.load_from_string(forward_graph(graph().SerializeToString(), "o"))
    onnx.checker.check_model(forward, full_check=True)
    assert [node.name for node in forward.graph.node] == ["first"]
    assert [item.name for item in forward.graph.input] == ["x", "w"]
    assert [item.name for item in forward.graph.output] == ["o"]
    assert not forward.graph.initializer
