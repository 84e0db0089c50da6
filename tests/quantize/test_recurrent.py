"""LSTM, GRU and RNN: written out they compute what onnxruntime's own operators do, and their weights can be trained."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import open_runtime
from quantize import make_bundle
from quantize.network import read_network
from tests.quantize.gradient_check import check_model
from tests.quantize.graphs import Array, model, node, weights, whole

STEPS, WIDTH, FEATURES = 5, 4, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def sequence_model(  # one recurrent layer over (N, T, F), as exporters write it
    kind: str,
    *,
    directions: int = 1,
    bias: bool = True,
    states: tuple[str, ...] = (),
    extra: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    gates = GATES[kind]
    if directions == 2:
        attributes["direction"] = "bidirectional"
    tensors: dict[str, Array] = {
        "w": weights(directions, gates * WIDTH, FEATURES),
        "r": weights(directions, gates * WIDTH, WIDTH, seed=1),
        "b": weights(directions, 2 * gates * WIDTH, seed=2),
        "last": weights(2 * directions * WIDTH, 3, seed=3),
        "h0": weights(directions, 1, WIDTH, seed=4),
        "c0": weights(directions, 1, WIDTH, seed=5),
        "axis": whole(1),
        "zero": np.zeros(1, np.float32),
        "n": whole(1),
        "d": whole(directions),
        "h": whole(WIDTH),
        "none": np.array(0, np.int64),
        "end": np.array(STEPS - 1, np.int64),
        "both": whole(0, -1),
    }
    inputs = f"s w r {'b' if bias else '_'} {extra or '_'} {' '.join(states)}"
    outputs = "y yh yc" if kind == "LSTM" else "y yh"
    nodes = [
        node("Shape", "x", "shape"),
        node("Gather", "shape none", "rows", axis=0),
        node("Unsqueeze", "rows n0", "rows1"),
        node("Concat", "d rows1 h", "state", axis=0),
        node("Expand", "zero state", "zeros"),
        node("Expand", "h0 state", "h0s"),
        node("Expand", "c0 state", "c0s"),
        node("Transpose", "x", "s", perm=[1, 0, 2]),
        node(kind, inputs, outputs, hidden_size=WIDTH, **attributes),
        node("Transpose", "y", "turned", perm=[2, 0, 1, 3]),
        node("Reshape", "turned both_flat", "sequences"),
        node("Gather", "sequences end", "ended", axis=1),
        node("Transpose", "yh", "yt", perm=[1, 0, 2]),
        node("Flatten", "yt", "final"),
        node("Concat", "ended final", "f", axis=1),
        node("MatMul", "f last", "o"),
    ]
    tensors |= {"n0": whole(0), "both_flat": whole(0, 0, directions * WIDTH)}
    used = {name for item in nodes for name in item.input}
    return model(nodes, {name: value for name, value in tensors.items() if name in used}, (STEPS, FEATURES))


CASES: dict[str, onnx.ModelProto] = {
    "LSTM": sequence_model("LSTM"),
    "LSTM without bias": sequence_model("LSTM", bias=False),
    "LSTM from zeros": sequence_model("LSTM", states=("zeros", "zeros")),
    "LSTM from trained states": sequence_model("LSTM", states=("h0s", "c0s")),
    "LSTM backwards": sequence_model("LSTM", direction="reverse"),
    "LSTM both ways": sequence_model("LSTM", directions=2, states=("h0s", "c0s")),
    "LSTM other functions": sequence_model("LSTM", activations=["Sigmoid", "Relu", "Tanh"]),
    "GRU": sequence_model("GRU"),
    "GRU reset after the product": sequence_model("GRU", linear_before_reset=1),
    "GRU reset after the product, from states": sequence_model("GRU", linear_before_reset=1, states=("h0s",)),
    "GRU reset after the product, without bias": sequence_model("GRU", linear_before_reset=1, bias=False),
    "GRU both ways": sequence_model("GRU", directions=2, linear_before_reset=1, states=("zeros",)),
    "RNN": sequence_model("RNN", states=("h0s",)),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    network = check_model(CASES[name], (STEPS, FEATURES), "softmax")
    assert not {"LSTM", "GRU", "RNN"} & {item.op_type for item in network.nodes}
    assert {"w", "r"} <= set(network.params)
    assert network.params["r"].shape[-1] == WIDTH, "weights keep their layout, so that they can be written back"


def test_zero_states_cost_nothing() -> None:
    plain, zeros = (read_network(CASES[name], (STEPS, FEATURES), "softmax") for name in ("LSTM", "LSTM from zeros"))
    assert len(plain.nodes) == len(zeros.nodes)


def test_all_steps_share_one_product_with_the_inputs() -> None:
    network = read_network(CASES["LSTM"], (STEPS, FEATURES), "softmax")
    products = [item for item in network.nodes if item.op_type == "MatMul"]
    assert len(products) == 2, "one over the sequence, one for the last layer"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clip": 3.0}, "clips its gates"),
        ({"input_forget": 1}, "couples its gates"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, "activations Sigmoid, Affine, Tanh"),
    ],
)
def test_forms_that_are_not_written_out_are_named(changes: dict[str, Any], sentence: str) -> None:
    graph = sequence_model("LSTM", **changes)
    with pytest.raises(UsageError, match=f"LSTM 'the_LSTM_y yh yc' .*{sentence}"):
        read_network(graph, (STEPS, FEATURES), "softmax")


def test_an_embedding_before_a_gru_takes_integer_ids() -> None:
    gates = 3 * WIDTH
    tensors = {
        "table": weights(9, FEATURES),
        "w": weights(1, gates, FEATURES),
        "r": weights(1, gates, WIDTH, seed=1),
        "b": weights(1, 2 * gates, seed=2),
        "zero": whole(0),
        "last": weights(WIDTH, 3, seed=3),
    }
    nodes = [
        node("Gather", "table x", "e"),
        node("Transpose", "e", "s", perm=[1, 0, 2]),
        node("GRU", "s w r b", "_ yh", hidden_size=WIDTH, linear_before_reset=1),
        node("Squeeze", "yh zero", "f"),
        node("MatMul", "f last", "o"),
    ]
    network = check_model(model(nodes, tensors, (STEPS,), TensorProto.INT64), (STEPS,), "softmax", rows=4)
    assert network.ids == 9


def test_ids_outside_the_table_are_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        node("Gather", "table x", "e"),
        node("ReduceMean", "e one", "f", keepdims=0),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"table": weights(9, 4), "one": whole(1), "last": weights(4, 3)}
    onnx.save(model(nodes, tensors, (5,), TensorProto.INT64), tmp_path / "m.onnx")
    bundle = read_bundle(make_bundle(str(tmp_path / "m.onnx"), (5,), 3, "softmax", 8, SeededEntropy(0)))
    assert not bundle.manifest.scaled, "ids are no numbers that a device may shift"
    runtime, labels = open_runtime(bundle), np.zeros(2, np.int64)
    for kind in (np.int8, np.int64, np.float32):
        loss, _ = runtime.gradients(bundle.params, np.full((2, 5), 8, kind), labels)
        assert np.isfinite(loss)
    with pytest.raises(UsageError, match=r"can't compute these rows: .*idx=9.*lie within its tables"):
        runtime.gradients(bundle.params, np.full((2, 5), 9), labels)
