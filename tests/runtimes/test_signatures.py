"""`train.tflite` in an interpreter: a graph that computes wrongly, or is another, is refused before anything trains."""

import sys
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.errors import Refusal, UsageError
from accord.runtimes import check_golden, open_runtime
from accord.runtimes.litert import LitertRuntime
from accord.runtimes.onnx import OnnxRuntime
from accord.runtimes.opening import PACKAGES, chosen
from accord.runtimes.reference import Reference
from quantize.making import Choices, make
from quantize.tflite.model import tflite_model


@cache
def made(model: str, shape: tuple[int, ...], *, tflite: bool) -> Bundle:
    return make(model, shape, 4, "softmax", 8, SeededEntropy(2), None, Choices(tflite=tflite)).bundle


def cnn() -> Bundle:
    return made("cnn:small", (1, 8, 8), tflite=True)


def translated(graph: onnx.ModelProto, bundle: Bundle) -> Bundle:
    names = bundle.manifest.input_names, bundle.manifest.output_names
    return replace(bundle, tflite=tflite_model(graph, *names))


def test_a_wrong_gradient_is_refused_with_both_numbers() -> None:
    """The loss and the outputs are right; only one slope on the way back is a tenth too large."""
    bundle = cnn()
    graph = onnx.load_from_string(bundle.train or b"")
    back = next(node for node in graph.graph.node if node.op_type == "ConvTranspose")
    ends = [node for node in graph.graph.node for place in node.input if place == back.output[0]]
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1.1), "too/much"))
    place = list(graph.graph.node).index(back) + 1
    graph.graph.node.insert(place, onnx.helper.make_node("Mul", [back.output[0], "too/much"], ["wrong"], name="wrong"))
    for node in ends:
        for at, name in enumerate(node.input):
            node.input[at] = "wrong" if name == back.output[0] else name
    broken = translated(graph, bundle)
    runtime = open_runtime(broken, "litert")
    x, y = bundle.golden.examples(bundle.manifest)
    loss, gradient = runtime.gradients(bundle.params, x, y)
    right_loss, right = open_runtime(bundle, "litert").gradients(bundle.params, x, y)
    assert loss == right_loss, "nobody sees it by the loss"
    with pytest.raises(
        Refusal, match=r"gradient of 'conv1.weight' came out as [-\d.e]+ where the bundle says [-\d.e]+"
    ):
        check_golden(runtime, broken)
    first = bundle.manifest.layout.places[0]
    assert first.name == "conv1.weight"
    assert np.allclose(gradient[: first.size], 1.1 * right[: first.size], rtol=1e-4)
    assert np.allclose(gradient[2 * first.size :], right[2 * first.size :])
    check_golden(open_runtime(bundle, "litert"), bundle)


@pytest.mark.parametrize("damage", ["noise", "cut", "empty"])
def test_bytes_that_are_no_model_are_refused(damage: str) -> None:
    model = cnn().tflite or b""
    data = {"noise": b"noise" * 500, "cut": model[: len(model) // 2], "empty": b""}[damage]
    with pytest.raises(Refusal, match=r"CorruptGraph: .*train\.tflite"):
        open_runtime(replace(cnn(), tflite=data), "litert")


def test_a_graph_of_another_model_is_refused() -> None:
    other = made("mlp:5", (6,), tflite=True)
    with pytest.raises(Refusal, match=r"inputs and outputs of train\.tflite are not those of the manifest"):
        open_runtime(replace(cnn(), tflite=other.tflite), "litert")


def test_signatures_that_are_missing_are_named() -> None:
    bundle = cnn()
    graph = onnx.load_from_string(bundle.train or b"")
    quantization: Any = type("Frozen", (), {"cut": "x", "feature_shape": (1, 8, 8), "feature_type": "int8"})()
    with pytest.raises(Refusal, match="has not the signatures predict, prepare, train"):
        open_runtime(replace(translated(graph, bundle), quantization=quantization), "litert")


def test_auto_takes_the_quickest_that_is_installed_and_has_a_graph() -> None:
    both = cnn()
    assert chosen(both) == "onnx"
    assert isinstance(open_runtime(both), OnnxRuntime)
    only = replace(both, train=None)
    assert chosen(only) == "litert"
    assert isinstance(open_runtime(only), LitertRuntime)
    dense = made("mlp:5", (6,), tflite=True)
    assert chosen(dense) == "onnx"
    assert isinstance(open_runtime(replace(dense, train=None, tflite=None)), Reference)


def test_auto_without_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dense model needs none; another says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    dense = made("mlp:5", (6,), tflite=True)
    assert chosen(dense) == "reference"
    assert chosen(cnn()) == "onnx"
    assert chosen(replace(cnn(), train=None)) == "litert"
    for missing in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, missing=missing: None if name == missing else name)
        assert chosen(replace(cnn(), train=None)) == ("tflite" if missing == "ai_edge_litert" else "litert")
    assert tuple(PACKAGES) == ("onnx", "litert", "tflite")


def test_what_can_not_be_opened_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_bundle_without_tflite()
    for name in ("litert", "tflite"):
        with pytest.raises(UsageError, match=r"no train\.tflite: make it with `accord quantize --tflite`"):
            open_runtime(plain, name)
    for module, name, extra in (("ai_edge_litert", "litert", "litert"), ("tflite_runtime", "tflite", "tflite")):
        monkeypatch.setitem(sys.modules, f"{module}.interpreter", None)
        with pytest.raises(UsageError, match=rf"pip install 'accord-fl\[{extra}\]'"):
            open_runtime(cnn(), name)


def read_bundle_without_tflite() -> Bundle:
    data = make("cnn:small", (1, 8, 8), 4, "softmax", 8, SeededEntropy(2)).data
    return read_bundle(data)
