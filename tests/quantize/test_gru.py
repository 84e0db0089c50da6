"""The built-in recurrent net: PyTorch's shapes, a sequence whose order it has to learn, and rows that it refuses."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.optimisers import Adam
from accord.runtimes import check_golden, open_runtime
from quantize import Choices, make_bundle
from quantize.builders import build_model
from quantize.int8.blocks import blocks
from quantize.network import read_network

SHAPE = (6, 3)


def sequences(count: int = 64) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of which the label says whether a pulse comes early or late: sums over the steps do not tell."""
    y = np.arange(count) % 2
    x = np.random.default_rng(0).normal(scale=0.1, size=(count, *SHAPE)).astype(np.float32)
    x[np.arange(count), np.where(y == 1, 4, 1)] += 1
    return x, y


def sigmoid(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-value))


def test_it_computes_the_equations_of_a_gated_unit() -> None:
    model = build_model("gru:4", SHAPE, 2, SeededEntropy(0))
    tensors = {item.name: numpy_helper.to_array(item).astype(np.float64) for item in model.graph.initializer}
    w, r = (np.split(tensors[name][0], 3) for name in ("gru.w", "gru.r"))
    b = np.split(tensors["gru.b"][0], 6)
    x, _ = sequences(5)
    state = np.zeros((5, 4))
    for step in range(SHAPE[0]):
        update = sigmoid(x[:, step] @ w[0].T + state @ r[0].T + b[0] + b[3])
        reset = sigmoid(x[:, step] @ w[1].T + state @ r[1].T + b[1] + b[4])
        new = np.tanh(x[:, step] @ w[2].T + b[2] + reset * (state @ r[2].T + b[5]))
        state = (1 - update) * new + update * state
    expected = state @ tensors["head.weight"] + tensors["head.bias"]
    bundle = read_bundle(make_bundle("gru:4", SHAPE, 2, "softmax", 8, SeededEntropy(0)))
    assert bundle.manifest.model == "gru:4"
    assert np.abs(open_runtime(bundle).predict(bundle.params, x) - expected).max() < 1e-5


@pytest.mark.parametrize("tier", ["float", "last-all", "head"])
def test_it_learns_the_order_of_steps(tier: str) -> None:
    x, y = sequences()
    choices = Choices(tier=tier, rows=None if tier == "float" else x)
    bundle = read_bundle(make_bundle("gru:8", SHAPE, 2, "softmax", 32, SeededEntropy(1), None, choices))
    runtime = open_runtime(bundle)
    assert check_golden(runtime, bundle) < 1e-4
    features, params = runtime.prepared(x), bundle.params.copy()
    optimiser = Adam(params, learning_rate=0.03)
    first, _ = runtime.gradients(params, features[:32], y[:32])
    for step in range(80):
        part = slice(0, 32) if step % 2 else slice(32, 64)
        last, gradient = runtime.gradients(params, features[part], y[part])
        optimiser.step(params, gradient)
    assert last < 0.7 * first
    if tier != "float":
        exported = runtime.exported(params, x)
        assert exported is not None
        assert np.mean(exported.argmax(1) == y) > 0.9


def test_it_is_cut_only_where_the_first_axis_is_the_batch() -> None:
    network = read_network(build_model("gru:8", SHAPE, 2, SeededEntropy(0)), SHAPE, "softmax")
    assert [block.cut for block in blocks(network)] == ["x", "state"]


def test_names_and_shapes_that_do_not_suit_say_what_would() -> None:
    for name in ("gru:0", "gru:x", "gru:08", "gru:1025", "gru:"):
        with pytest.raises(UsageError, match="write gru:64, the number of units from 1 to 1024"):
            build_model(name, SHAPE, 2, SeededEntropy(0))
    for shape in ((18,), (1, 6, 3), (513, 3)):
        with pytest.raises(UsageError, match=r"takes sequences, .*: --input-shape steps,features with at most 512"):
            build_model("gru:8", shape, 2, SeededEntropy(0))


def test_it_is_an_ordinary_model_of_onnx() -> None:
    onnx.checker.check_model(build_model("gru:4", SHAPE, 2, SeededEntropy(0)), full_check=True)
