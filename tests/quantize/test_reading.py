"""What exporters write becomes plain nodes that compute the same: opsets, folded constants, traced batches, ids."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import open_runtime
from quantize import make_bundle
from quantize.network import Network, read_network
from tests.quantize.gradient_check import check_model
from tests.quantize.graphs import Array, dense, forward, model, node, weights, whole, with_last


def operators(network: Network) -> list[str]:
    return [item.op_type for item in network.nodes]


def versioned(graph: onnx.ModelProto, version: int) -> onnx.ModelProto:
    graph.opset_import[0].version = version
    return graph


def test_a_normalisation_behind_a_layer_is_folded_into_it() -> None:
    nodes = [
        node("Conv", "x w b", "c"),
        node("BatchNormalization", "c s t m v", "n", epsilon=1e-3),
        node("ConvTranspose", "n u", "d"),
        node("BatchNormalization", "d s t m v", "e"),
        node("GlobalAveragePool", "e", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f g", "h", transB=1),
        node("BatchNormalization", "h s3 t3 m3 v3", "o"),
    ]
    tensors = {"w": weights(2, 1, 3, 3), "b": weights(2), "u": weights(2, 2, 2, 2), "g": weights(3, 2)}
    for tail, size in (("", 2), ("3", 3)):
        tensors |= {f"s{tail}": weights(size, low=0.5), f"t{tail}": weights(size, seed=1)}
        tensors |= {f"m{tail}": weights(size, seed=2), f"v{tail}": weights(size, low=0.2, seed=3)}
    graph = model(nodes, tensors, (1, 5, 5))
    folded = read_network(graph, (1, 5, 5), "softmax")
    frozen = read_network(graph, (1, 5, 5), "softmax", fold_norms=False)
    assert "BatchNormalization" not in operators(folded)
    assert operators(frozen).count("BatchNormalization") == 3
    assert {"w", "b", "u", "g"} <= set(folded.params)
    assert not np.array_equal(folded.params["w"], tensors["w"])
    assert same_outputs(folded, graph, (1, 5, 5))


def same_outputs(network: Network, graph: onnx.ModelProto, size: tuple[int, ...]) -> bool:
    x = weights(4, *size, seed=7)
    again = helper.make_graph(
        list(network.nodes),
        "again",
        [helper.make_tensor_value_info(network.x, TensorProto.FLOAT, ["N", *size])],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, key) for key, value in {**network.constants, **network.params}.items()],
    )
    found = forward(helper.make_model(again, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), x)
    return bool(np.allclose(found, forward(graph, x), rtol=1e-5, atol=1e-5))


@pytest.mark.parametrize("reader", ["also", "shared"])
def test_a_layer_that_others_read_keeps_its_normalisation(reader: str) -> None:
    nodes = [node("Conv", "x w", "c"), node("BatchNormalization", "c s t m v", "n")]
    nodes += [node("Add", "n c", "y")] if reader == "also" else [node("Conv", "n w", "y")]
    nodes += [node("GlobalAveragePool", "y", "p"), node("Flatten", "p", "f"), node("MatMul", "f l", "o")]
    tensors = {"w": weights(2, 2, 1, 1), "l": weights(2, 3), "v": weights(2, low=0.2)}
    tensors |= {name: weights(2, seed=place) for place, name in enumerate("stm")}
    network = read_network(model(nodes, tensors, (2, 3, 3)), (2, 3, 3), "softmax")
    assert "BatchNormalization" in operators(network)


def test_what_follows_from_shapes_is_worked_out() -> None:
    """Flattening as an exporter writes it, a root of a width, and positions up to a length."""
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s one", "length"),
        node("Cast", "length", "lf", to=TensorProto.FLOAT),
        node("Sqrt", "lf", "root"),
        node("Div", "x root", "scaled"),
        node("Range", "zero length one", "positions"),
        node("Gather", "table positions", "embedded", axis=0),
        node("Add", "scaled embedded", "sum"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n axis", "n1"),
        node("Concat", "n1 rest", "to", axis=0),
        node("Reshape", "sum to", "f"),
        node("MatMul", "f last", "o"),
    ]
    tensors = {
        "zero": np.array(0), "one": np.array(1), "axis": whole(0), "rest": whole(-1),
        "table": weights(9, 3), "last": weights(12, 3),
    }  # fmt: skip
    network = check_model(model(nodes, tensors, (4, 3)), (4, 3), "softmax")
    assert operators(network) == ["Div", "Gather", "Add", "Reshape", "MatMul"]
    assert list(network.params) == ["table", "last"]


@pytest.mark.parametrize("target", [(1, -1), (1, 8), (-1, 8), (0, -1), (0, 8)])
def test_a_traced_batch_is_opened_up(target: tuple[int, ...]) -> None:
    nodes = [node("Mul", "x s", "h"), node("Reshape", "h to", "f"), node("MatMul", "f last", "o")]
    tensors = {"s": weights(2, 4), "to": whole(*target), "last": weights(8, 3)}
    graph = model(nodes, tensors, (2, 4))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    network = check_model(graph, (2, 4), "softmax", rows=1)
    assert network.shapes["o"] == (None, 3)


def test_a_traced_batch_that_may_lie_in_two_places_is_refused() -> None:
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]), node("Reshape", "t to", "h"), node("MatMul", "h w", "o")]
    graph = model(nodes, {"to": whole(2, 2, 2), "w": weights(2, 3)}, (2, 4))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(UsageError, match="does not tell where: export the model with an open batch dimension"):
        read_network(graph, (2, 4), "softmax")


def test_a_model_that_reads_differently_is_refused() -> None:
    """Traced for two rows, it subtracts the mean of both: no row-wise model is the same."""
    nodes = [
        node("Reshape", "x to", "pair"),
        node("ReduceMean", "pair axis", "mean", keepdims=1),
        node("Sub", "pair mean", "gap"),
        node("Reshape", "gap back", "f"),
        node("Mul", "f s", "g"),
        node("Tanh", "g", "t"),
        node("MatMul", "t w", "o"),
    ]
    tensors = {"to": whole(2, 1, 4), "axis": whole(0), "back": whole(2, 4), "s": weights(4), "w": weights(4, 3)}
    graph = model(nodes, tensors, (4,))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(UsageError, match="gives other outputs once it is read"):
        read_network(graph, (4,), "softmax")


def test_tokens_may_be_flattened_and_put_back() -> None:
    nodes = [
        node("Reshape", "x flat", "t"),
        node("Gemm", "t w b", "u"),
        node("Tanh", "u", "v"),
        node("Reshape", "v back", "y"),
        node("ReduceMean", "y axis", "f", keepdims=0),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"flat": whole(-1, 4), "back": whole(-1, 3, 5), "axis": whole(1)}
    check_model(
        model(nodes, {**tensors, "w": weights(4, 5), "b": weights(5), "last": weights(5, 3)}, (3, 4)), (3, 4), "softmax"
    )


def test_weights_under_other_shapes_keep_their_names() -> None:
    nodes = [
        node("Transpose", "w", "wt"),
        node("MatMul", "x wt", "m"),
        node("Unsqueeze", "b axis", "b1"),
        node("Add", "m b1", "f"),
        node("MatMul", "f last", "o"),
    ]
    network = check_model(
        model(nodes, {"w": weights(5, 4), "b": weights(5), "axis": whole(0), "last": weights(5, 3)}, (4,)),
        (4,),
        "softmax",
    )
    assert [(name, value.shape) for name, value in network.params.items()] == [
        ("w", (5, 4)),
        ("b", (5,)),
        ("last", (5, 3)),
    ]


@pytest.mark.parametrize("version", [13, 15, 17, 18, 19, 21, 22, 23])
def test_opsets(version: int) -> None:
    nodes, tensors, size = dense([node("Relu", "h", "r"), node("Reshape", "r to", "f")], {"to": whole(0, 4)}, (4,))
    network = read_network(versioned(with_last(nodes, tensors, size), version), size, "softmax")
    assert operators(network) == ["Mul", "Relu", "Reshape", "MatMul"]


def test_an_older_opset_is_refused() -> None:
    nodes, tensors, size = dense([node("Relu", "h", "f")], {}, (4,))
    with pytest.raises(UsageError, match="written for opset 11: export it for opset 13 or later"):
        read_network(versioned(with_last(nodes, tensors, size), 11), size, "softmax")


def scikit_learn(extra: list[onnx.NodeProto], tensors: dict[str, Array], outputs: list[tuple[str, int]]) -> Any:
    """An MLPClassifier as skl2onnx writes it: a cast, products, and labels in ai.onnx.ml beside the probabilities."""
    graph = helper.make_graph(
        [
            node("Cast", "x", "c", to=1),
            node("MatMul", "c w", "m"),
            node("Add", "m b", "a"),
            node("Relu", "a", "r"),
            node("MatMul", "r w1", "m1"),
            node("Add", "m1 b1", "z"),
            *extra,
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, [None, 4])],
        [helper.make_tensor_value_info(name, kind, [None] * (1 + (kind == 1))) for name, kind in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


def test_scikit_learn_classes() -> None:
    labels = [
        node("Softmax", "z", "p", axis=1),
        node("Identity", "p", "probabilities"),
        node("ArgMax", "p", "index", axis=1),
        helper.make_node("ArrayFeatureExtractor", ["classes", "index"], ["label"], domain="ai.onnx.ml"),
    ]
    tensors = {
        "w": weights(4, 5),
        "b": weights(1, 5),
        "w1": weights(5, 3),
        "b1": weights(1, 3),
        "classes": np.arange(3),
    }
    graph = scikit_learn(labels, tensors, [("label", TensorProto.INT64), ("probabilities", TensorProto.FLOAT)])
    network = read_network(graph, (4,), "softmax")
    assert operators(network) == ["MatMul", "Add", "Relu", "MatMul", "Add"]
    assert network.output == "z"
    assert len(network.notes) == 2


def test_scikit_learn_two_classes_are_one_probability() -> None:
    pair = [
        node("Sigmoid", "z", "p"),
        node("Sub", "unit p", "q"),
        node("Concat", "q p", "probabilities", axis=1),
    ]
    tensors = {"w": weights(4, 5), "b": weights(1, 5), "w1": weights(5, 1), "b1": weights(1, 1)}
    graph = scikit_learn(pair, {**tensors, "unit": np.ones(1, np.float32)}, [("probabilities", TensorProto.FLOAT)])
    network = read_network(graph, (4,), "binary")
    assert (network.output, network.outputs) == ("z", 1)
    with pytest.raises(UsageError, match="--loss binary --outputs 1"):
        read_network(graph, (4,), "softmax")


def test_what_is_not_plain_onnx_is_named() -> None:
    scaler = helper.make_node("Scaler", ["x"], ["s"], name="scale", domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    graph = model([scaler, node("MatMul", "s w", "o")], {"w": weights(4, 3)}, (4,))
    with pytest.raises(UsageError, match=r"node 'scale': operator Scaler of ai\.onnx\.ml has no gradient"):
        read_network(graph, (4,), "softmax")
    body = helper.make_graph([node("Identity", "w", "y")], "b", [], [helper.make_tensor_value_info("y", 1, None)])
    branch = helper.make_node("If", ["c"], ["v"], name="choice", then_branch=body, else_branch=body)
    graph = model([branch, node("MatMul", "x v", "o")], {"w": weights(4, 3), "c": np.array(True)}, (4,))
    with pytest.raises(UsageError, match="node 'choice': operator If is control flow"):
        read_network(graph, (4,), "softmax")
    labels = model([node("ArgMax", "x", "o", axis=1)], {}, (4,))
    labels.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(UsageError, match=r"no output of the model \(o\) is a float32 tensor"):
        read_network(labels, (4,), "softmax")


def test_ids_are_drawn_within_the_smallest_table() -> None:
    nodes = [
        node("Gather", "big x", "a"),
        node("Gather", "x none", "first", axis=1),
        node("Gather", "small first", "b"),
        node("ReduceMean", "a axis", "m", keepdims=0),
        node("Add", "m b", "f"),
        node("MatMul", "f last", "o"),
    ]
    tensors = {"big": weights(9, 4), "small": weights(5, 4), "axis": whole(1), "none": np.array(0)}
    graph = model(nodes, {**tensors, "last": weights(4, 3)}, (6,), TensorProto.INT64)
    network = check_model(graph, (6,), "softmax", rows=5)
    drawn = network.draw(200, SeededEntropy(1))
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0, 1, 2, 3, 4}


def test_numbers_written_as_constant_nodes_are_not_trained() -> None:
    ones = helper.make_node("Constant", [], ["mask"], value=numpy_helper.from_array(weights(4)))
    kernel = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weights(4, 3)))
    nodes = [ones, node("Mul", "x mask", "m"), node("MatMul", "m w", "o")]
    assert list(read_network(model(nodes, {"w": weights(4, 3)}, (4,)), (4,), "mse").params) == ["w"]
    every = read_network(model([kernel, *nodes], {}, (4,)), (4,), "mse")
    assert list(every.params) == ["mask", "w"], "where no weight is an initialiser, constants are weights"


def test_an_unread_part_of_a_split_stays_in_the_forward_graph(tmp_path: Path) -> None:
    nodes = [node("Mul", "x s", "h"), node("Split", "h", "a b c", axis=1, num_outputs=3), node("MatMul", "b w", "o")]
    onnx.save(model(nodes, {"s": weights(6), "w": weights(2, 3)}, (6,)), tmp_path / "m.onnx")
    bundle = read_bundle(make_bundle(str(tmp_path / "m.onnx"), (6,), 3, "softmax", 8, SeededEntropy(0)))
    assert open_runtime(bundle).predict(bundle.params, weights(2, 6)).shape == (2, 3)
