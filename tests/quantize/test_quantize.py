"""From a model to a bundle and back: built-in models, models of others, the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

from accord import cli
from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import Refusal, UsageError
from accord.optimisers import Sgd
from accord.runtimes import check_golden, open_runtime, reference
from accord.runtimes import onnx as onnx_runtime
from accord.signing import SigningKey
from quantize import make_bundle
from quantize.making import make

INFO = helper.make_tensor_value_info
KEY = SigningKey(bytes(range(32)))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def saved(path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, Any], shape: list[Any], opset: int = 20) -> str:
    graph = helper.make_graph(
        nodes,
        "g",
        [INFO("image", TensorProto.FLOAT, shape)],
        [INFO("o", TensorProto.FLOAT, [shape[0], 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def floats(*shape: int) -> Any:
    return rng().normal(0, 0.3, shape).astype(np.float32)


def test_the_same_seed_gives_the_same_bytes() -> None:
    arguments = ("mlp:8", (5,), 3, "softmax", 16)
    assert make_bundle(*arguments, SeededEntropy(1)) == make_bundle(*arguments, SeededEntropy(1))
    assert make_bundle(*arguments, SeededEntropy(1)) != make_bundle(*arguments, SeededEntropy(2))


@pytest.mark.parametrize("model", ["linear", "mlp:8,4"])
def test_a_graph_starts_from_the_weights_of_the_reference(model: str) -> None:
    bundle = read_bundle(make_bundle(model, (2, 3), 4, "softmax", 8, SeededEntropy(3)))
    specification, params = reference.build(model, (2, 3), 4, "softmax", SeededEntropy(3))
    assert np.array_equal(bundle.params, params)
    assert bundle.manifest.layout == specification.layout
    assert bundle.manifest.exponents == specification.exponents


def test_the_small_cnn_learns_digits() -> None:
    data = load_digits()
    x = (data.images[:, None].astype(np.float32) - 8) / 8
    bundle = read_bundle(make_bundle("cnn:small", (1, 8, 8), 10, "softmax", 32, SeededEntropy(0)))
    runtime = open_runtime(bundle)
    check_golden(runtime, bundle)
    params = bundle.params.copy()
    optimiser = Sgd(params, learning_rate=0.05, momentum=0.9)
    gradient = np.empty_like(params)
    for _ in range(6):
        for start in range(0, 1_400, 32):  # the last batch is ragged
            part = slice(start, min(start + 32, 1_400))
            runtime.gradients(params, x[part], data.target[part], gradient)
            optimiser.step(params, gradient)
    accuracy = (runtime.predict(params, x[1_400:]).argmax(1) == data.target[1_400:]).mean()
    assert accuracy > 0.8


@pytest.mark.parametrize(("name", "parameters"), [("cnn:small", 14_410), ("cnn:medium", 108_618)])
def test_the_cnns_for_fashion_mnist_have_as_many_parameters_as_is_said(name: str, parameters: int) -> None:
    bundle = read_bundle(make_bundle(name, (1, 28, 28), 10, "softmax", 32, SeededEntropy(0)))
    assert bundle.manifest.layout.size == parameters
    with pytest.raises(UsageError, match=r"bundle has no train|trains linear and mlp"):
        open_runtime(bundle, "reference")


def test_a_model_as_exporters_write_it(tmp_path: Path) -> None:
    """Opset 13, weights (out, in), a Dropout, a view computed from the shape of x, and a last Softmax."""
    nodes = [
        helper.make_node("Conv", ["image", "c.weight", "c.bias"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Dropout", ["r"], ["d"]),
        helper.make_node("Shape", ["d"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.array(0))),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Constant", [], ["front"], value=numpy_helper.from_array(np.array([0]))),
        helper.make_node("Unsqueeze", ["n", "front"], ["n1"]),
        helper.make_node("Constant", [], ["rest"], value=numpy_helper.from_array(np.array([-1]))),
        helper.make_node("Concat", ["n1", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["d", "to"], ["v"]),
        helper.make_node("Gemm", ["v", "fc.weight", "fc.bias"], ["z"], transB=1),
        helper.make_node("Softmax", ["z"], ["o"], axis=1),
    ]
    tensors = {
        "c.weight": floats(2, 1, 3, 3),
        "c.bias": floats(2),
        "fc.weight": floats(3, 50),
        "fc.bias": floats(3),
    }
    path = saved(tmp_path / "m.onnx", nodes, tensors, ["batch", 1, 5, 5], opset=13)
    made = make(path, (1, 5, 5), 3, "softmax", 8, SeededEntropy(0))
    assert [name for name, _ in made.bundle.manifest.layout.tensors] == list(tensors)
    assert made.bundle.manifest.model == "onnx"
    assert "Softmax was taken off" in made.notes[0]
    assert np.array_equal(made.bundle.params, np.concatenate([value.ravel() for value in tensors.values()]))
    x = rng().standard_normal((11, 1, 5, 5)).astype(np.float32)
    import onnxruntime  # noqa: PLC0415 - after the telemetry is off

    (expected,) = onnxruntime.InferenceSession(path).run(None, {"image": x})
    found = np.exp(open_runtime(made.bundle).predict(made.bundle.params, x))
    assert np.allclose(found / found.sum(1, keepdims=True), expected, atol=1e-5)


def test_a_batch_that_was_traced_is_opened_up(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["image", "to"], ["v"]),
        helper.make_node("MatMul", ["v", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["o"]),
    ]
    tensors = {"to": np.array([1, 8]), "w": floats(8, 3), "b": floats(3)}
    path = saved(tmp_path / "m.onnx", nodes, tensors, [1, 2, 4])
    bundle = read_bundle(make_bundle(path, (2, 4), 3, "softmax", 8, SeededEntropy(0)))
    loss, _ = open_runtime(bundle).gradients(bundle.params, np.ones((5, 2, 4), np.float32), np.zeros(5, np.int64))
    assert np.isfinite(loss)


def test_shared_weights_get_the_sum_of_their_gradients(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["a"]),
        helper.make_node("Tanh", ["a"], ["t"]),
        helper.make_node("MatMul", ["t", "w"], ["o"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, {"w": floats(3, 3)}, ["N", 3])
    made = make(path, (3,), 3, "mse", 8, SeededEntropy(0))
    assert made.golden_error < 1e-5


def refused(path: str, match: str, *, loss: str = "softmax", shape: tuple[int, ...] = (4,), outputs: int = 3) -> None:
    with pytest.raises(UsageError, match=match):
        make(path, shape, outputs, loss, 8, SeededEntropy(0))


def test_models_that_can_not_be_trained_are_refused_with_the_place(tmp_path: Path) -> None:
    dense = helper.make_node("MatMul", ["h", "w"], ["o"], name="last")
    first = helper.make_node("Mul", ["image", "s"], ["a"], name="first")
    tensors = {"w": floats(4, 3), "s": floats(4)}

    tan = [first, helper.make_node("Tan", ["a"], ["h"], name="block3/tan"), dense]
    refused(saved(tmp_path / "tan.onnx", tan, tensors, ["N", 4]), r"operator Tan \(node 'block3/tan'\) has no gradient")
    custom = [first, helper.make_node("FastGelu", ["a"], ["h"], domain="com.microsoft"), dense]
    refused(saved(tmp_path / "custom.onnx", custom, tensors, ["N", 4]), "FastGelu .* is not plain ONNX")
    plain = saved(
        tmp_path / "m.onnx", [helper.make_node("MatMul", ["image", "w"], ["o"])], {"w": floats(4, 3)}, ["N", 4]
    )
    refused(plain, "say --outputs 3", outputs=5)
    refused(plain, "does not fit rows of shape", shape=(5,))
    refused(plain, "loss 'hinge' is unknown", loss="hinge")
    mixed = [
        helper.make_node("Reshape", ["image", "to"], ["h"], name="mixer"),
        helper.make_node("MatMul", ["h", "w"], ["o"]),
    ]
    path = saved(tmp_path / "mixed.onnx", mixed, {"to": np.array([-1, 2]), "w": floats(2, 3)}, ["N", 4])
    refused(path, "'mixer' mixes the rows")
    none = saved(tmp_path / "none.onnx", [helper.make_node("Relu", ["image"], ["o"])], {}, ["N", 3])
    refused(none, "no float32 weights", shape=(3,))
    refused(str(tmp_path / "missing.onnx"), "can't be read")
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    refused(str(tmp_path / "noise.onnx"), "can't be read")
    refused("resnet", "use linear, mlp:64,32")
    refused("cnn:small", "takes images")
    refused("cnn:small", "takes images", shape=(1, 4, 4))


def test_a_dead_weight_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["image", "w"], ["o"]),
        helper.make_node("Shape", ["unused"], ["s"]),
    ]
    path = saved(tmp_path / "m.onnx", nodes, {"w": floats(4, 3), "unused": floats(4, 2)}, ["N", 4])
    bundle = read_bundle(make_bundle(path, (4,), 3, "softmax", 8, SeededEntropy(0)))
    assert [name for name, _ in bundle.manifest.layout.tensors] == ["w"], "what the output does not need is left out"


def test_a_gradient_that_cancels_out_is_no_wrong_one(tmp_path: Path) -> None:
    """A bias of attention's keys moves every score of a row alike: its gradient is 0 but for the last bits."""
    nodes = [
        helper.make_node("MatMul", ["image", "q"], ["queries"]),
        helper.make_node("MatMul", ["image", "k"], ["keys0"]),
        helper.make_node("Add", ["keys0", "k.bias"], ["keys"]),
        helper.make_node("Transpose", ["keys"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["queries", "turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "image"], ["mixed"]),
        helper.make_node("Flatten", ["mixed"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["o"]),
    ]
    tensors = {"q": floats(4, 4), "k": floats(4, 4), "k.bias": floats(4), "last": floats(20, 3)}
    path = saved(tmp_path / "m.onnx", nodes, tensors, ["N", 5, 4])
    assert make(path, (5, 4), 3, "softmax", 8, SeededEntropy(0)).golden_error < 1e-4


def test_a_wrong_runtime_makes_no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx_runtime.OnnxRuntime.gradients

    def wrong(*arguments: Any) -> Any:
        loss, gradient = right(*arguments)
        return loss, -gradient

    monkeypatch.setattr(onnx_runtime.OnnxRuntime, "gradients", wrong)
    with pytest.raises(Refusal, match=r"GoldenMismatch: the gradient of 'dense1.weight' came out as"):
        make_bundle("linear", (4,), 3, "softmax", 8, SeededEntropy(0))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, key = tmp_path / "b.accord", tmp_path / "publisher.key"
    key.write_text(KEY.seed.hex() + "\n")
    words = ["quantize", "mlp:8", "--input-shape", "5", "--outputs", "3", "--out", str(out), "--sign", str(key)]
    assert cli.main([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    bundle = read_bundle(out.read_bytes(), publisher=KEY.public)
    assert facts["digest"] == bundle.digest.hex()
    assert facts["parameters"] == bundle.manifest.layout.size == 5 * 8 + 8 + 8 * 3 + 3
    assert facts["publisher"] == KEY.public.hex()
    assert facts["golden_error"] < 1e-5

    assert cli.main(words) == 0
    table = capsys.readouterr().out
    assert "dense1.weight" in table
    assert "golden loss" in table
    assert "train.tflite" not in table

    assert cli.main([*words, "--tflite"]) == 0
    table = capsys.readouterr().out
    assert "train.tflite" in table
    assert "onnxruntime and LiteRT here are within" in table
    assert read_bundle(out.read_bytes()).tflite is not None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"--input-shape": "5,x"}, "is not a shape"),
        ({"--input-shape": "0"}, "is not a shape"),
        ({"--sign": "/nowhere/key"}, "can't be read"),
        ({"--sign": __file__}, "does not hold 32 bytes"),
        ({"--out": "/nowhere/bundle"}, "can't be written"),
        ({"--outputs": "1"}, "a softmax over one output"),
        ({"--batch": "0"}, "batch"),
    ],
)
def test_the_command_says_what_is_wrong(
    change: dict[str, str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"--input-shape": "5", "--outputs": "3", "--out": str(tmp_path / "b"), **change}
    words = [word for pair in options.items() for word in pair]
    assert cli.main(["quantize", "linear", *words]) == 1
    assert sentence in capsys.readouterr().err
