"""A model divided by a tier: what is frozen, what is trained, and that the exported int8 model is the trained one."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from accord.bundle.archive import Bundle, read_bundle
from accord.bundle.export import Units, export
from accord.entropy import SeededEntropy
from accord.errors import Refusal, UsageError
from accord.optimisers import Sgd
from accord.prg import digest
from accord.runtimes import check_golden, open_runtime
from accord.runtimes.onnx import Exported
from accord.update import delta
from accord.update.snapshot import first
from quantize import Choices, make_bundle
from quantize.builders import build_model
from quantize.int8.blocks import blocks, cuts
from quantize.int8.tiers import activations_first, divided
from quantize.network import Network, read_network

SHAPE = (1, 8, 8)
UNITS = Units(mean=np.zeros(1, np.float32), factor=np.ones(1, np.float32))


def digits() -> tuple[Any, Any]:
    data = load_digits()
    return (data.images[:, None].astype(np.float32) - 5) / 6, data.target.astype(np.int64)


def bundle_of(tier: str, **choices: Any) -> Bundle:
    x, _ = digits()
    given = Choices(tier=tier, rows=x[:200], **choices)
    return read_bundle(make_bundle("cnn:small", SHAPE, 10, "softmax", 32, SeededEntropy(1), None, given))


def trained(bundle: Bundle, epochs: int, rate: float) -> tuple[Any, Any]:
    """Return the parameters after some passes over the digits, and a runtime."""
    x, y = digits()
    runtime = open_runtime(bundle)
    params = bundle.params.copy()
    optimiser = Sgd(params, learning_rate=rate, momentum=0.9)
    rows = runtime.prepared(x[:1_400])
    for _ in range(epochs):
        for start in range(0, 1_400, 32):
            part = slice(start, min(start + 32, 1_400))
            _, gradient = runtime.gradients(params, rows[part], y[part])
            optimiser.step(params, gradient)
    return params, runtime


@pytest.mark.parametrize(
    ("tier", "feature_shape", "tensors"), [("head", (32,), 2), ("last-1", (64,), 4), ("last-2", (8, 4, 4), 6)]
)
def test_a_tier_trains_the_last_blocks_and_freezes_the_rest(tier: str, feature_shape: Any, tensors: int) -> None:
    bundle = bundle_of(tier)
    assert bundle.quantization is not None
    assert bundle.quantization.feature_shape == feature_shape
    assert bundle.quantization.feature_type == "int8"
    assert len(bundle.manifest.layout.tensors) == tensors
    assert check_golden(open_runtime(bundle), bundle) < 1e-5


def test_what_is_frozen_travels_in_the_bundle_and_never_again() -> None:
    bundle, whole = bundle_of("head"), bundle_of("float")
    layout = bundle.manifest.layout
    assert layout.size == 32 * 10 + 10 < whole.manifest.layout.size
    version = first(bundle.params, 1)
    assert len(version) == 4 * (layout.size + 2 * 1 + 2), "a version holds what is trained, and the scaling"
    later = first(bundle.params + np.float32(2.0**-10), 1)
    made = delta.between(version, later, layout)
    assert made is not None
    assert len(made) < len(version)
    assert delta.apply(version, made, layout, digest(later)) == later


def test_scales_of_a_net_that_starts_from_nothing_are_trained() -> None:
    bundle = bundle_of("last-all")
    names = [name for name, _ in bundle.manifest.layout.tensors]
    assert [name for name in names if name.endswith("/range")] == [
        f"{n}/range" for n in ("x", "pool1", "pool2", "relu1")
    ]
    params, _ = trained(bundle, 2, 0.05)
    before, after = (bundle.manifest.layout.views(values)["relu1/range"] for values in (bundle.params, params))
    assert before != after


@pytest.mark.parametrize(("tier", "least"), [("last-all", 0.75), ("last-2", 0.8), ("head", 0.4)])
def test_the_exported_model_gives_what_was_trained(tier: str, least: float) -> None:
    x, y = digits()
    bundle = bundle_of(tier)
    params, runtime = trained(bundle, 6, 0.05)
    inside = runtime.predict(params, runtime.prepared(x[1_400:]))
    model = export(bundle, params, UNITS, {})
    outside = Exported(model).predict(x[1_400:])
    assert np.mean(inside.argmax(1) == outside.argmax(1)) > 0.99
    assert np.mean(outside.argmax(1) == y[1_400:]) > least
    graph = onnx.load_from_string(model).graph
    kinds = {item.name.removeprefix("model/"): item.data_type for item in graph.initializer}
    assert kinds["conv2.weight/q"] == kinds["dense1.weight/q"] == TensorProto.INT8
    assert len(graph.output) == 1


def test_rows_that_were_not_prepared_are_refused() -> None:
    bundle = bundle_of("head")
    x, y = digits()
    with pytest.raises(UsageError, match="prepared rows of shape"):
        open_runtime(bundle).gradients(bundle.params, x[:4], y[:4])


def test_a_bundle_whose_slots_do_not_fit_is_refused() -> None:
    bundle = bundle_of("head")
    assert bundle.quantization is not None
    from dataclasses import replace  # noqa: PLC0415 - one use

    wrong = replace(bundle.quantization.slots[0], values="conv2.weight/q")
    lying = replace(bundle, quantization=replace(bundle.quantization, slots=(wrong, bundle.quantization.slots[1])))
    with pytest.raises(Refusal, match=r"CorruptBundle.*conv2.weight/q"):
        export(lying, bundle.params, UNITS, {})


def test_tiers_that_do_not_suit_say_what_would() -> None:
    with pytest.raises(UsageError, match="this model has 3: use last-all"):
        bundle_of("last-9")
    with pytest.raises(UsageError, match="use float, head, last-2"):
        Choices(tier="most")
    with pytest.raises(UsageError, match="needs real rows to calibrate on: --calibrate"):
        make_bundle("cnn:small", SHAPE, 10, "softmax", 32, SeededEntropy(1), None, Choices(tier="head"))
    with pytest.raises(UsageError, match="with tier last-all or int8 only"):
        bundle_of("head", train_scales=True)


def test_rows_of_another_shape_or_with_nan_are_no_calibration() -> None:
    network = read_network(build_model("cnn:small", SHAPE, 10, SeededEntropy(1)), SHAPE, "softmax")
    with pytest.raises(UsageError, match="do not fit the model"):
        divided(network, "head", np.zeros((4, 1, 9, 8), np.float32), follow=False)
    with pytest.raises(UsageError, match="NaN"):
        divided(network, "head", np.full((4, *SHAPE), np.nan, np.float32), follow=False)
    with pytest.raises(UsageError, match="some hundred real ones"):
        divided(network, "head", np.zeros((0, *SHAPE), np.float32), follow=False)


def residual() -> Network:
    """A depthwise-separable block, a residual branch, a normalisation, and a head."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "dw"], ["a"], name="dw", group=2, kernel_shape=[3, 3], pads=[1] * 4),
        node("Conv", ["a", "pw", "pb"], ["b"], name="pw", kernel_shape=[1, 1]),
        node("Relu", ["b"], ["c"], name="relu"),
        node("Conv", ["c", "w1"], ["d"], name="conv", kernel_shape=[3, 3], pads=[1] * 4),
        node("Relu", ["d"], ["e"], name="relu2"),
        node("Add", ["c", "e"], ["f"], name="join"),
        node("GlobalAveragePool", ["f"], ["g"], name="pool"),
        node("Flatten", ["g"], ["h"], name="flat"),
        node("MatMul", ["h", "head"], ["i"], name="head"),
        node("Add", ["i", "bias"], ["o"], name="headbias"),
    ]
    shapes = {"dw": (2, 1, 3, 3), "pw": (4, 2, 1, 1), "pb": (4,), "w1": (4, 4, 3, 3), "head": (4, 3), "bias": (3,)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 2, 6, 6])],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(rng.normal(0, 0.4, s).astype(np.float32), n) for n, s in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return read_network(model, (2, 6, 6), "softmax")


def test_branches_stay_whole_and_depthwise_goes_with_what_follows() -> None:
    network = residual()
    assert [name for _, name in cuts(network)] == ["image", "a", "b", "c", "f", "g", "h", "i", "o"]
    assert [(block.cut, block.weights) for block in blocks(network)] == [
        ("image", ("dw", "pw", "pb")),
        ("c", ("w1",)),
        ("h", ("head", "bias")),
    ]


@pytest.mark.parametrize("tier", ["head", "last-1", "last-2", "last-all"])
def test_a_residual_net_trains_and_runs_in_int8(tier: str) -> None:
    network = residual()
    rows = np.random.default_rng(1).normal(size=(64, 2, 6, 6)).astype(np.float32)
    parts = divided(network, tier, rows, follow=False)
    assert set(parts.frozen) | set(parts.train.params) == set(network.params)
    assert not set(parts.frozen) & set(parts.train.params)
    float_side = {item.name for item in parts.infer.graph.initializer if item.data_type == TensorProto.FLOAT}
    assert not float_side & {"dw", "pw", "w1", "head"}, "every weight is int8"


def test_relu_before_pooling_gives_the_same_numbers() -> None:
    network = read_network(build_model("cnn:small", SHAPE, 10, SeededEntropy(1)), SHAPE, "softmax")
    swapped = activations_first(network)
    order = [node.op_type for node in swapped.nodes]
    assert order[:3] == ["Conv", "Relu", "MaxPool"]
    assert {name for node in swapped.nodes for name in node.output} == {
        n for node in network.nodes for n in node.output
    }
