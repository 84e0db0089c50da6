"""The straight-through rules against gradients written down by hand: differences can't see through a rounding."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accord.bundle.rounding import weight_scales, weight_steps
from accord.runtimes.onnx import session
from quantize.differentiate.backward import training_graph
from quantize.int8.grid import Grid, grid_of
from quantize.int8.rounding import RANGE, Rounded
from quantize.network import Network, read_network, shapes_of


def one_layer() -> Network:
    weight = np.array([[0.5, -1.27], [0.013, 0.4]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["o"], name="m")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return read_network(model, (2,), "mse")


def run(network: Network, grid: Grid, x: Any, y: Any, *, follow: bool) -> dict[str, Any]:
    form = Rounded(network, {"x": grid}, trained=("w",), follow=follow, doubled=())
    params = {**network.params, **form.ranges}
    constants = {name: value for name, value in form.constants.items() if name not in params}
    shapes = shapes_of(form.nodes, {**constants, **params}, "x", (2,), "o")
    whole = replace(network, nodes=tuple(form.nodes), params=params, constants=constants, shapes=shapes)
    graph = training_graph(whole, "mse")
    feeds = dict(zip(graph.input_names, [x, y, np.ones(len(x), np.float32), *params.values()], strict=True))
    names = ["loss", "outputs", "metric", *params]
    onnx.checker.check_model(graph.model)
    found = session(graph.model.SerializeToString(), integers=False).run(list(graph.output_names), feeds)
    return dict(zip(names, found, strict=True))


def test_a_weight_is_rounded_to_its_channel_and_takes_the_slope_as_it_is() -> None:
    network, grid = one_layer(), Grid(scale=0.1, zero_point=0)
    x, y = np.array([[1.04, -0.31], [0.2, 0.7]], np.float32), np.zeros((2, 2), np.float32)
    found = run(network, grid, x, y, follow=False)
    seen = np.array([[1.0, -0.3], [0.2, 0.7]])
    weight = network.params["w"].astype(np.float64)
    scales = np.abs(weight).max(axis=0) / 127
    kept = np.rint(weight / scales) * scales
    outputs = seen @ kept
    np.testing.assert_allclose(found["outputs"], outputs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["w"], seen.T @ (outputs * 2 / 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("value", "passes"), [(0.0, True), (1.2, True), (12.6, True), (13.0, False), (-12.9, False)])
def test_a_row_beyond_its_grid_takes_no_slope(value: float, passes: bool) -> None:
    """The row itself is made by a trained shift, whose slope shows what came through."""
    network, grid = one_layer(), Grid(scale=0.1, zero_point=0)
    shift = np.array([value, 0.05], np.float32)
    add = helper.make_node("Add", ["x", "shift"], ["x2"], name="shift")
    matmul = helper.make_node("MatMul", ["x2", "w"], ["o"], name="m")
    params = {"shift": shift, **network.params}
    shapes = shapes_of([add, matmul], params, "x", (2,), "o")
    moved = replace(network, nodes=(add, matmul), params=params, shapes=shapes)
    form = Rounded(moved, {"x2": grid}, trained=("w", "shift"), follow=False, doubled=())
    whole = replace(
        moved,
        nodes=tuple(form.nodes),
        constants={name: v for name, v in form.constants.items() if name not in params},
        shapes=shapes_of(form.nodes, {**form.constants, **params}, "x", (2,), "o"),
    )
    graph = training_graph(whole, "mse")
    feeds = dict(
        zip(
            graph.input_names,
            [np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32), np.ones(1, np.float32), *params.values()],
            strict=True,
        )
    )
    slope = session(graph.model.SerializeToString(), integers=False).run([graph.output_names[3]], feeds)[0]
    assert (slope[0] != 0.0) == passes


def test_a_trained_scale_moves_towards_its_data() -> None:
    network = one_layer()
    x, y = np.array([[1.27, -0.3], [0.2, 0.7]], np.float32), np.zeros((2, 2), np.float32)
    for scale in (0.04, 0.01, 0.0025):
        found = run(network, Grid(scale=scale, zero_point=0), x, y, follow=True)
        assert found["x" + RANGE] == pytest.approx(np.log2(scale / 0.01), abs=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "zero"), [(0.0, 5.1, -128), (-1.0, 1.0, 0), (-0.5, 2.05, -78), (0.0, 0.0, -128), (-3.0, 0.0, 127)]
)
def test_a_grid_covers_its_range_and_holds_zero(low: float, high: float, zero: int) -> None:
    grid = grid_of(low, high)
    assert grid.zero_point == pytest.approx(zero, abs=1)
    assert grid.scale * (-128 - grid.zero_point) <= low + grid.scale
    assert grid.scale * (127 - grid.zero_point) >= high - grid.scale
    assert grid_of(-0.5, 2.0, symmetric=True).zero_point == 0


def test_weights_keep_their_largest_value() -> None:
    weight = np.array([[0.5, -2.54], [0.0, 0.0]], np.float32)
    scales = weight_scales(weight, 0)
    steps = weight_steps(weight, scales, 0)
    assert steps.tolist() == [[25, -127], [0, 0]]
