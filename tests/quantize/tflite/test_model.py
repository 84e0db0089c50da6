"""What a `.tflite` model of ours is: builtin operators, names of the manifest, the same bytes each time."""

from typing import Any

import numpy as np
import onnx
import pytest

from accord.bundle.archive import Bundle
from accord.entropy import SeededEntropy
from accord.runtimes import check_golden, open_runtime
from quantize.making import Choices, make
from quantize.tflite.model import tflite_model
from tests.quantize.tflite.interpreters import constant_inputs, opened, operators


def bundle_of(tier: str = "float", model: str = "cnn:small", shape: tuple[int, ...] = (1, 8, 8)) -> Bundle:
    rows = np.random.default_rng(0).standard_normal((64, *shape)).astype(np.float32)
    choices = Choices(tier=tier, rows=None if tier == "float" else rows, tflite=True)
    return make(model, shape, 10, "softmax", 16, SeededEntropy(4), None, choices).bundle


def test_signatures_bear_the_names_of_the_manifest() -> None:
    bundle = bundle_of()
    assert bundle.tflite is not None
    found = opened(bundle.tflite).get_signature_list()
    x = bundle.manifest.input_names[0]
    assert set(found) == {"train", "predict"}
    assert set(found["train"]["inputs"]) == set(bundle.manifest.input_names)
    assert set(found["train"]["outputs"]) == set(bundle.manifest.output_names)
    assert set(found["predict"]["inputs"]) == {x, *bundle.manifest.tensor_names}
    assert found["predict"]["outputs"] == [bundle.manifest.output_names[1]]


def test_all_operators_are_builtin_and_none_is_a_trap() -> None:
    bundle = bundle_of()
    assert bundle.tflite is not None
    assert "CUSTOM" not in operators(bundle.tflite)
    assert operators(bundle.tflite)["REVERSE_V2"] == 1
    assert all(len(axes) == 1 for axes in constant_inputs(bundle.tflite, "REVERSE_V2", 1)), (
        "tflite-runtime 2.14 reverses over two axes wrongly and says nothing"
    )
    predicted = set(operators(bundle.tflite, 1))
    assert predicted == {"CONV_2D", "MAX_POOL_2D", "RELU", "BATCH_MATMUL", "ADD", "RESHAPE", "TRANSPOSE"}


def test_the_same_graph_gives_the_same_bytes() -> None:
    bundle = bundle_of()
    assert bundle.train is not None
    names = bundle.manifest.input_names, bundle.manifest.output_names
    assert tflite_model(onnx.load_from_string(bundle.train), *names) == bundle.tflite


@pytest.mark.parametrize("tier", ["last-all", "last-2", "last-1", "head"])
@pytest.mark.parametrize(("model", "shape"), [("cnn:small", (1, 8, 8)), ("mlp:12,9", (7,))])
def test_tiers_train_in_litert_as_in_onnxruntime(tier: str, model: str, shape: tuple[int, ...]) -> None:
    """The frozen part, rounded weights and activations, and scales that are trained."""
    bundle = bundle_of(tier, model, shape)
    runtimes = [open_runtime(bundle, name) for name in ("onnx", "litert")]
    for runtime in runtimes:
        check_golden(runtime, bundle)
    rng = np.random.default_rng(5)
    x: Any = rng.standard_normal((13, *shape)).astype(np.float32)
    y = rng.integers(0, 10, 13)
    features = [runtime.prepared(x) for runtime in runtimes]
    assert features[0].dtype == features[1].dtype
    steps = np.abs(features[0].astype(np.float64) - features[1].astype(np.float64))
    assert steps.max() <= 1, "a value in the middle of two steps may go either way"
    assert (steps > 0).mean() < 0.01
    (loss, gradient), (other_loss, other) = (runtime.gradients(bundle.params, features[0], y) for runtime in runtimes)
    assert loss == pytest.approx(other_loss, rel=1e-5)
    assert np.abs(gradient - other).max() <= 1e-5 * np.abs(gradient).max()
