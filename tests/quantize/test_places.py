"""Maxima found by comparing: the first of equal cells, nobody where nothing is a number, and no mask twice."""

import numpy as np
import onnx
import pytest

from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.network import read_network
from tests.quantize.gradient_check import Array, check_case, run
from tests.quantize.graphs import Case, dense, node, with_last

TILED = {"kernel_shape": [2, 2], "strides": [2, 2]}


def pooled(*before: onnx.NodeProto, size: tuple[int, ...] = (2, 4, 6)) -> Case:
    return dense([*before, node("MaxPool", "r" if before else "h", "p", **TILED), node("Flatten", "p", "f")], {}, size)


def graph_of(case: Case) -> tuple[TrainingGraph, dict[str, Array]]:
    nodes, tensors, size = case
    network = read_network(with_last(nodes, tensors, size), size, "softmax", fold_norms=False)
    return training_graph(network, "softmax"), dict(network.params)


def gradient_of_scale(case: Case, x: Array) -> Array:
    graph, params = graph_of(case)
    params["scale"] = np.ones_like(params["scale"])
    given = (x, np.zeros(len(x), np.int64), np.ones(len(x), np.float32))
    found = run(graph, {**dict(zip(graph.input_names, given, strict=False)), **params})
    gradient: Array = dict(zip(graph.output_names, found, strict=True))["grad/scale"]
    return gradient


def operators(graph: TrainingGraph) -> list[str]:
    return [item.op_type for item in graph.model.graph.node]


def test_the_places_come_from_comparisons_where_windows_tile_the_image() -> None:
    tiled, _ = graph_of(pooled())
    odd, _ = graph_of(pooled(size=(2, 5, 6)))
    assert all(len(item.output) == 1 for item in tiled.model.graph.node if item.op_type == "MaxPool")
    assert any(len(item.output) == 2 for item in odd.model.graph.node if item.op_type == "MaxPool")


def test_of_equal_cells_the_first_gets_the_slope() -> None:
    rows = np.ones((3, 2, 4, 6), np.float32)
    rows[0, :, :2, 1:] = [[2, 1, 1, 3, 1], [2, 1, 4, 1, 3]]  # windows whose first maximum is not their first cell
    changed = gradient_of_scale(pooled(), rows) != 0
    expected = np.zeros((2, 4, 6), bool)
    expected[:, ::2, ::2] = True
    expected[:, 0, 1] = True
    expected[:, 1, 3] = True
    expected[:, 0, 4] = True
    assert np.array_equal(changed, expected)


def test_rows_that_are_no_numbers_give_no_numbers_and_no_error() -> None:
    rows = np.random.default_rng(0).standard_normal((2, 2, 4, 6)).astype(np.float32)
    rows[1] = np.nan
    assert np.isnan(gradient_of_scale(pooled(), rows)).any()


def test_a_relu_before_a_pool_needs_no_mask_of_its_own() -> None:
    graph, _ = graph_of(pooled(node("Relu", "h", "r")))
    (mask,) = (item for item in graph.model.graph.node if item.op_type == "Greater")
    assert mask.input[0] == "p"


def twice_read() -> Case:
    nodes = [
        node("Relu", "h", "r"),
        node("MaxPool", "r", "p", **TILED),
        node("AveragePool", "r", "q", **TILED),
        node("Add", "p q", "s"),
        node("Flatten", "s", "f"),
    ]
    return dense(nodes, {}, (2, 4, 6))


@pytest.mark.parametrize("case", [pooled(), pooled(node("Relu", "h", "r")), twice_read()])
def test_gradients(case: Case) -> None:
    check_case(case, "softmax")


def test_a_relu_that_others_read_keeps_its_mask() -> None:
    graph, _ = graph_of(twice_read())
    assert [item.input[0] for item in graph.model.graph.node if item.op_type == "Greater"] == ["r"]
