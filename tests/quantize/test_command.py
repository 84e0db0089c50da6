"""`accord quantize` as people type it: what may be left out, what it tells, and what it says is wrong."""

import json
from collections.abc import Callable
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
from accord.errors import CodecError, Refusal
from accord.optimisers import Sgd
from accord.runtimes import open_runtime
from quantize import Choices, make_bundle
from quantize.builders import build_model

INFO = helper.make_tensor_value_info
SHAPE = (1, 8, 8)
Run = Callable[..., Any]


def digits() -> tuple[Any, Any]:
    data = load_digits()
    return data.images[:, None].astype(np.float32), data.target.astype(np.int64)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CNN that knows the digits as they are stored, 0 to 16, as an ONNX file."""
    x, y = digits()
    bundle = read_bundle(
        make_bundle("cnn:small", SHAPE, 10, "softmax", 32, SeededEntropy(1), None, Choices(scaled=False))
    )
    runtime, params = open_runtime(bundle), bundle.params.copy()
    optimiser = Sgd(params, learning_rate=0.005, momentum=0.9)
    for _ in range(8):
        for start in range(0, 1_400, 32):
            part = slice(start, min(start + 32, 1_400))
            optimiser.step(params, runtime.gradients(params, x[part], y[part])[1])
    views = bundle.manifest.layout.views(params)
    model = build_model("cnn:small", SHAPE, 10, SeededEntropy(1))
    for item in model.graph.initializer:
        item.CopyFrom(numpy_helper.from_array(views[item.name], item.name))
    path = tmp_path_factory.mktemp("pretrained") / "digits.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command: the facts it told, or its complaint."""

    def run(model: Any, *words: Any) -> Any:
        given = ["quantize", str(model), "--out", str(tmp_path / "bundle"), "--json", *map(str, words)]
        code = cli.main(given)
        facts = json.loads(capsys.readouterr().out)
        assert code == int("error" in facts)
        return facts.get("error", facts)

    return run


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_model_file_needs_its_path_and_rows_and_nothing_else(pretrained: Path, command: Run, tmp_path: Path) -> None:
    x, y = digits()
    facts = command(pretrained, "--calibrate", saved(tmp_path / "rows.npz", x=x[1_400:], y=y[1_400:]))
    assert (facts["input_shape"], facts["outputs"], facts["scaled"]) == ([1, 8, 8], 10, False)
    assert facts["tier"] == "last-2"
    assert facts["trained_weights"] == facts["weights"] - 80, "the first convolution is frozen"
    found = facts["accuracy"]
    assert found["rows"] == 397
    assert found["measure"] == "accuracy"
    assert min(found["float"], found["in_graph"], found["exported"]) > 0.8
    assert abs(found["in_graph"] - found["exported"]) < 0.01
    assert facts["app_bytes"]["int8"] < facts["app_bytes"]["float"]
    assert facts["feature_bytes_per_row"] == 8 * 4 * 4


def test_rows_of_a_built_in_model_are_scaled_as_a_fleet_scales_them(command: Run, tmp_path: Path) -> None:
    x, y = digits()
    wide = saved(tmp_path / "rows.npz", x_train=1_000 * x.reshape(-1, 64), y_train=y)
    facts = command("mlp:16,8", "--input-shape", "64", "--outputs", "10", "--calibrate", wide)
    assert (facts["tier"], facts["scaled"], facts["trained_scales"]) == ("last-all", True, 3)
    bundle = read_bundle((tmp_path / "bundle").read_bytes())
    assert 2.0 ** bundle.manifest.layout.views(bundle.params)["x/range"] < 1, "pixels of 16,000 were scaled first"
    raw = command("mlp:16,8", "--input-shape", "64", "--outputs", "10", "--calibrate", wide, "--raw")
    assert raw["scaled"] is False
    bundle = read_bundle((tmp_path / "bundle").read_bytes())
    assert 2.0 ** bundle.manifest.layout.views(bundle.params)["x/range"] > 10


def test_int8_weights_take_a_quarter_of_the_memory_of_floats(pretrained: Path, command: Run, tmp_path: Path) -> None:
    x, y = digits()
    rows = saved(tmp_path / "rows.npz", x=x[1_400:], y=y[1_400:])
    whole, facts = (command(pretrained, "--calibrate", rows, "--tier", tier) for tier in ("last-all", "int8"))
    assert facts["trained_weights"] == facts["weights"] == whole["weights"]
    assert facts["memory_bytes"]["parameters"] < 0.3 * whole["memory_bytes"]["parameters"]
    assert (facts["memory_bytes"]["gradient"], facts["memory_bytes"]["momentum"]) == (0, 0)
    assert facts["memory_bytes"]["all"] < whole["memory_bytes"]["all"]
    found = facts["accuracy"]
    assert found["float"] - found["exported"] < 0.02, "the grid reaches further than the weights, and is coarser"
    assert abs(found["in_graph"] - found["exported"]) < 0.01


def test_scales_are_fixed_where_asked_for(command: Run, tmp_path: Path) -> None:
    rows = saved(tmp_path / "rows.npz", x=digits()[0])
    words = ("cnn:small", "--input-shape", "1,8,8", "--outputs", "10", "--calibrate", rows)
    assert command(*words, "--fixed-scales")["trained_scales"] == 0
    assert command(*words, "--tier", "last-all", "--train-scales")["trained_scales"] == 4
    assert "with tier last-all or int8 only" in command(*words, "--tier", "head", "--train-scales")
    assert "has no scales" in command(*words, "--tier", "float", "--fixed-scales")


def test_what_a_step_costs_grows_with_the_batch_and_with_what_is_trained(pretrained: Path, command: Run) -> None:
    whole, half = (command(pretrained, "--batch", batch) for batch in (32, 16))
    assert whole["activation_bytes"] == 2 * half["activation_bytes"]
    assert whole["memory_bytes"]["parameters"] == 4 * whole["parameters"]
    assert whole["memory_bytes"]["all"] == sum(size for name, size in whole["memory_bytes"].items() if name != "all")
    assert whole["memory_bytes"]["tensors"] > whole["activation_bytes"]
    assert whole["accuracy"] is None
    head = command(pretrained, "--freeze-before", "relu1")
    assert head["trained_weights"] == 330
    # Relu's mask is not needed there: 32 rows of 32 features, of 10 exponentials or logits, and no image.
    assert 0 < head["activation_bytes"] < 32 * 4 * (32 + 3 * 10)


def test_errors_of_regression_are_told_in_the_units_of_the_targets(command: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    rows = saved(tmp_path / "rows.npz", x=x, y=1_000 + 100 * x[:, 0])
    facts = command("linear", "--input-shape", "5", "--outputs", "1", "--loss", "mse", "--calibrate", rows)
    assert facts["accuracy"]["measure"] == "error"
    assert 20 < facts["accuracy"]["float"] < 1_000


def test_the_table_tells_the_same(pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = digits()
    rows = saved(tmp_path / "rows.npz", x=x, y=y)
    words = ["quantize", str(pretrained), "--out", str(tmp_path / "b"), "--tier", "head", "--calibrate", str(rows)]
    assert cli.main(words) == 0
    table = capsys.readouterr().out
    for told in ("head: trains 330 of 3,658 weights", "bytes in int8", "32 bytes for each row", "exported int8 0."):
        assert told in table


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": np.zeros((4, 1, 8, 8))}, "holds neither x nor x_train: write it with numpy.savez"),
        ({"x": np.zeros((4, 64))}, "takes numbers of shape (rows, 1, 8, 8)"),
        ({"x": np.zeros((4, 1, 8, 8), "S3")}, "the model takes numbers"),
        ({"x": np.zeros((0, 1, 8, 8))}, "has no rows: some hundred real ones"),
        ({"x": np.full((4, 1, 8, 8), np.nan)}, "holds NaN or infinity in 4 of 4 rows"),
        ({"x": np.full((4, 1, 8, 8), 1e300)}, "holds NaN or infinity in 4 of 4 rows"),
        ({"x": np.zeros((4, 1, 8, 8)), "y": np.array([0, 1, 2, 10])}, "y holds 10, and with loss softmax"),
        ({"x": np.zeros((4, 1, 8, 8)), "y": np.array([0, 1, 2, -1])}, "knows the labels 0 to 9"),
        ({"x": np.zeros((4, 1, 8, 8)), "y": np.array([0.0, 1, 2, np.inf])}, "y in"),
        ({"x": np.zeros((4, 1, 8, 8)), "y": np.arange(3)}, "one number for each of the 4 rows"),
        ({"x": np.zeros((4, 1, 8, 8)), "y": np.zeros((4, 2), np.int64)}, "takes 1 of each row"),
        ({"x": np.array([{}], dtype=object)}, "never unpickled"),
    ],
)
def test_rows_that_do_not_fit_are_refused(arrays: Any, sentence: str, command: Run, tmp_path: Path) -> None:
    rows = saved(tmp_path / "rows.npz", **arrays)
    assert sentence in command("cnn:small", "--input-shape", "1,8,8", "--outputs", "10", "--calibrate", rows)
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_no_npz_is_refused(command: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"noise")
    words = ("linear", "--input-shape", "4", "--outputs", "3", "--calibrate")
    assert "is not a whole .npz file" in command(*words, tmp_path / "rows.npz")
    assert "does not exist" in command(*words, tmp_path / "none.npz")


def test_what_a_built_in_model_needs_and_what_a_file_leaves_open(command: Run, tmp_path: Path) -> None:
    assert "needs --input-shape and --outputs" in command("linear")
    assert "needs --outputs" in command("linear", "--input-shape", "4")
    node = helper.make_node("MatMul", ["image", "w"], ["o"])
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    graph = helper.make_graph(
        [node],
        "g",
        [INFO("image", TensorProto.FLOAT, ["N", "width"])],
        [INFO("o", TensorProto.FLOAT, ["N", 3])],
        [weight],
    )
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    assert "states width behind the batch): say it with --input-shape" in command(path)
    assert command(path, "--input-shape", "4")["outputs"] == 3
    assert "say --outputs 3" in command(path, "--input-shape", "4", "--outputs", "2")


def test_tiers_that_can_not_be_are_refused(pretrained: Path, command: Run, tmp_path: Path) -> None:
    rows = saved(tmp_path / "rows.npz", x=digits()[0])
    assert "use float, head, last-2 (or another number), last-all, or int8" in command(pretrained, "--tier", "most")
    assert "this model has 3: use last-all" in command(pretrained, "--tier", "last-7", "--calibrate", rows)
    assert "needs real rows to calibrate on: --calibrate" in command(pretrained, "--tier", "head")


def test_ids_are_never_scaled(command: Run, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("ReduceMean", ["words", "axis"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["o"]),
    ]
    rng = np.random.default_rng(0)
    tensors = {
        "table": rng.normal(size=(20, 4)).astype(np.float32),
        "axis": np.array([1]),
        "w": rng.normal(size=(4, 3)).astype(np.float32),
        "b": np.zeros(3, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [INFO("ids", TensorProto.INT64, ["N", 6])],
        [INFO("o", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    path = tmp_path / "words.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    rows = saved(tmp_path / "rows.npz", x=rng.integers(0, 20, (30, 6)), y=rng.integers(0, 3, 30))
    assert "takes ids, which are never scaled" in command(path, "--scaled")
    facts = command(path, "--calibrate", rows)
    assert facts["scaled"] is False
    assert facts["accuracy"]["rows"] == 30


def refused_graph(path: Path, nodes: list[onnx.NodeProto], tensors: dict[str, Any]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [INFO("image", TensorProto.FLOAT, ["N", 4])],
        [INFO("o", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8), path)
    return path


def test_a_model_that_can_not_be_trained_says_why(command: Run, tmp_path: Path) -> None:
    none = refused_graph(tmp_path / "none.onnx", [helper.make_node("Relu", ["image"], ["o"])], {})
    assert "no float32 weights to train" in command(none)

    def between(operator: str) -> Path:
        nodes = [
            helper.make_node("MatMul", ["image", "first"], ["a"]),
            helper.make_node(operator, ["a"], ["b"], name="step"),
            helper.make_node("MatMul", ["b", "last"], ["o"]),
        ]
        eye = np.eye(4, dtype=np.float32)
        return refused_graph(tmp_path / f"{operator}.onnx", nodes, {"first": eye, "last": eye + 1})

    sentence = command(between("Round"))
    assert "operator Round (node 'step')" in sentence
    assert "(--freeze-before a)" in sentence
    assert command(between("Round"), "--freeze-before", "a")["trained_weights"] == 16
    sentence = command(between("Tan"))
    assert "operator Tan (node 'step')" in sentence
    assert "--freeze-before" not in sentence, "no device would take Tan, frozen or not"


def test_what_is_no_model_says_what_would_be(command: Run, tmp_path: Path) -> None:
    assert "model 'resnet' is unknown: use linear, mlp:64,32, cnn:small, cnn:medium, mobilenet:25" in command("resnet")
    assert "comes from no file, so it needs --input-shape" in command("linear")
    words = ("linear", "--input-shape", "4", "--outputs", "3")
    command(*words)
    assert "a training bundle is ready as it is" in command(tmp_path / "bundle", *words[1:])
    (tmp_path / "noise.onnx").write_bytes(b"noise")
    assert "can't be read as an ONNX model" in command(tmp_path / "noise.onnx")
    assert "at least 1 is needed" in command("cnn:small", "--input-shape", "1,8,8", "--outputs", "0")


def test_a_bundle_that_was_damaged_is_refused_by_whoever_opens_it(command: Run, tmp_path: Path) -> None:
    command("linear", "--input-shape", "4", "--outputs", "3")
    data = bytearray((tmp_path / "bundle").read_bytes())
    place = data.index(b"params.bin") + 200
    data[place] ^= 1
    with pytest.raises((Refusal, CodecError)):
        read_bundle(bytes(data))
