"""Tier int8: a graph that takes weights as int8 steps, what it learns, and what is shipped of it."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from accord.bundle.archive import Bundle, read_bundle, write_bundle
from accord.bundle.export import Units, export
from accord.bundle.manifest import Specification
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.optimisers import OnGrid, Sgd, StochasticRounding
from accord.runtimes import open_runtime
from accord.runtimes.onnx import Exported
from quantize import Choices, make_bundle
from quantize.int8.grid import grid_scales
from quantize.int8.tiers import divided
from quantize.network import read_network

UNITS = Units(mean=np.zeros(1, np.float32), factor=np.ones(1, np.float32))


def digits() -> tuple[Any, Any]:
    data = load_digits()
    return (data.images[:, None].astype(np.float32) - 5) / 6, data.target.astype(np.int64)


def test_int8_weights_learn_without_a_float_copy_and_are_shipped_as_they_are() -> None:
    x, y = digits()
    choices = Choices(tier="int8", rows=x[:200])
    bundle = read_bundle(make_bundle("cnn:small", (1, 8, 8), 10, "softmax", 32, SeededEntropy(1), None, choices))
    assert bundle.train is not None
    inputs = {item.name: item.type.tensor_type.elem_type for item in onnx.load_from_string(bundle.train).graph.input}
    assert inputs["conv2.weight"] == inputs["dense1.weight"] == TensorProto.INT8
    assert inputs["conv2.bias"] == inputs["relu1/range"] == TensorProto.FLOAT
    runtime = open_runtime(bundle)
    grid = runtime.grid
    assert grid is not None
    assert np.array_equal(grid.values(grid.nearest(bundle.params)), bundle.params), "a bundle begins on its grid"
    optimiser = OnGrid(grid, Sgd(bundle.params, learning_rate=0.1), StochasticRounding(bytes(32)))
    weights = optimiser.start(bundle.params)
    assert weights.nbytes < 1.2 * len(weights.steps)
    for _ in range(6):
        for start in range(0, 1_400, 32):
            part = slice(start, min(start + 32, 1_400))
            optimiser.step(weights, runtime.slopes(weights, x[part], y[part])[1])
    params = grid.values(weights)
    inside = runtime.predict(params, x[1_400:])
    model = export(bundle, params, UNITS, {})
    outside = Exported(model).predict(x[1_400:])
    assert np.mean(inside.argmax(1) == outside.argmax(1)) > 0.99
    assert np.mean(outside.argmax(1) == y[1_400:]) > 0.85
    constants = {item.name.removeprefix("model/"): item for item in onnx.load_from_string(model).graph.initializer}
    for name, steps in zip(grid.layout.views(params), weights.tensors, strict=True):
        if steps.dtype == np.int8:
            assert np.array_equal(numpy_helper.to_array(constants[f"{name}/q"]), steps), "nothing is rounded again"


def test_a_channel_of_zeros_has_steps_that_it_can_grow_with() -> None:
    weight = np.array([[0, 0], [0.01, 1], [4, -2]], np.float32)
    assert np.allclose(grid_scales(weight, 0, 2.0) * 127, [0.5, 2, 8])
    assert np.allclose(grid_scales(np.zeros((2, 2), np.float32), 0, 1.0) * 127, 0.5 / 16)
    assert np.allclose(grid_scales(weight, None, 1.0) * 127, 4)


def test_a_table_that_is_a_weight_too_stays_in_float32() -> None:
    """Ids choose rows of the same numbers that the head multiplies by: these would be steps in one place only."""
    table = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["image", "table"], ["a"], name="a"),
        helper.make_node("Gather", ["table", "row"], ["chosen"], name="g"),
        helper.make_node("Add", ["a", "chosen"], ["b"], name="b"),
        helper.make_node("MatMul", ["b", "head"], ["o"], name="o"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["N", 4])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(table * 2, "head"),
            numpy_helper.from_array(np.array(1), "row"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    rows = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32)
    parts = divided(read_network(model, (4,), "softmax"), "int8", rows, follow=False)
    kinds = dict(zip(parts.train.params, (slot.kind for slot in parts.quantization.slots), strict=True))
    assert kinds == {"table": "weight", "head": "steps"}


def test_a_bundle_whose_tier_and_slots_contradict_one_another_is_refused() -> None:
    whole = make_bundle("mlp:4", (3,), 2, "softmax", 8, SeededEntropy(1), None, Choices(tier="int8"))
    bundle = read_bundle(whole)
    assert bundle.quantization is not None
    for tier in ("last-all", "int8"):
        slots = tuple(
            dataclasses.replace(slot, kind="weight") if slot.kind == "steps" and tier == "int8" else slot
            for slot in bundle.quantization.slots
        )
        lying = write_bundle(
            dataclasses.replace(specification_of(bundle), tier=tier),
            params=bundle.params,
            golden=bundle.golden,
            train=bundle.train,
            infer=bundle.infer,
            quantization=dataclasses.replace(bundle.quantization, slots=slots),
        )
        with pytest.raises(Refusal, match=rf"CorruptBundle.*tier {tier}"):
            read_bundle(lying)


def specification_of(bundle: Bundle) -> Specification:
    return Specification(**{name: getattr(bundle.manifest, name) for name, _ in Specification.kinds()})
