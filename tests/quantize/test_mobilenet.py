"""The built-in depthwise net: its size, that it can be cut between any two of its blocks, and that it trains."""

import itertools
from collections import Counter

import numpy as np
import onnx
import pytest

from accord.bundle.archive import read_bundle
from accord.bundle.export import Units, export
from accord.bundle.forward import training_part
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.optimisers import Sgd
from accord.runtimes import check_golden, open_runtime
from accord.runtimes.onnx import Exported
from quantize import Choices, make_bundle
from quantize.builders import build_model
from quantize.int8.blocks import blocks
from quantize.network import read_network

SHAPE = (3, 32, 32)


def test_at_a_quarter_of_its_width_it_has_the_weights_of_the_paper() -> None:
    network = read_network(build_model("mobilenet:25", (3, 96, 96), 10, SeededEntropy(0)), (3, 96, 96), "softmax")
    widths, full = [8, 16, 32, 32, 64, 64, *[128] * 6, 256, 256], 0
    full += 8 * 27 + 8
    for before, after in itertools.pairwise(widths):
        full += 9 * before + before + before * after + after
    found = sum(value.size for value in network.params.values())
    assert found == full + 256 * 10 + 10 == 212_906


def test_a_block_is_a_depthwise_convolution_with_the_one_behind_it() -> None:
    network = read_network(build_model("mobilenet:10", SHAPE, 4, SeededEntropy(0)), SHAPE, "softmax")
    found = [block.nodes for block in blocks(network)]
    assert found[0] == ("stem",)
    assert found[1:-1] == [(f"block{n}.depthwise", f"block{n}.pointwise") for n in range(1, 14)]
    assert found[-1] == ("head",)


def test_its_last_blocks_learn_on_top_of_a_frozen_part() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(64) % 2
    x = rng.normal(size=(64, *SHAPE)).astype(np.float32)
    x[y == 1] += 2
    choices = Choices(tier="last-2", rows=x)
    bundle = read_bundle(make_bundle("mobilenet:10", SHAPE, 2, "softmax", 32, SeededEntropy(0), None, choices))
    assert bundle.manifest.model == "mobilenet:10"
    runtime = open_runtime(bundle)
    assert check_golden(runtime, bundle) < 1e-4
    features, params = runtime.prepared(x), bundle.params.copy()
    optimiser = Sgd(params, learning_rate=0.02, momentum=0.9)
    first, _ = runtime.gradients(params, features[:32], y[:32])
    for step in range(60):
        part = slice(0, 32) if step % 2 else slice(32, 64)
        last, gradient = runtime.gradients(params, features[part], y[part])
        optimiser.step(params, gradient)
    assert last < 0.7 * first
    exported = runtime.exported(params, x)
    assert exported is not None
    assert np.mean(exported.argmax(1) == y) > 0.8


@pytest.mark.parametrize("tier", ["float", "last-all"])
def test_an_app_gets_its_convolutions_though_small_maps_train_as_matrices(tier: str) -> None:
    rows = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)
    choices = Choices(tier=tier, rows=None if tier == "float" else rows)
    bundle = read_bundle(make_bundle("mobilenet:10", SHAPE, 2, "softmax", 16, SeededEntropy(0), None, choices))
    same = Units(mean=np.zeros(3, np.float32), factor=np.ones(3, np.float32))
    data = export(bundle, bundle.params, same, {})
    operators = Counter(node.op_type for node in onnx.load_from_string(data).graph.node)
    assert operators["Conv"] == 27
    assert operators["MatMul"] == operators["Transpose"] == 0
    found = Exported(data).predict(rows)
    runtime = open_runtime(bundle)
    assert np.abs(found - runtime.predict(bundle.params, rows)).max() < 1e-4
    assert bundle.train is not None
    loss, _, *others = bundle.manifest.output_names
    trains = onnx.load_from_string(training_part(bundle.train, (loss, *others))).graph
    assert not any(node.name.startswith("plain/") for node in trains.node), "a step computes one form"
    if tier == "float":
        assert any("/matrix" in node.name for node in trains.node)


def test_names_and_shapes_that_do_not_suit_say_what_would() -> None:
    for name in ("mobilenet:0", "mobilenet:x", "mobilenet:025", "mobilenet:201"):
        with pytest.raises(UsageError, match="write mobilenet:25, the width in percent from 1 to 200"):
            build_model(name, SHAPE, 4, SeededEntropy(0))
    for shape in ((3, 31, 32), (1024,)):
        with pytest.raises(UsageError, match="takes images: --input-shape channels,height,width of 32 or more"):
            build_model("mobilenet:25", shape, 4, SeededEntropy(0))
