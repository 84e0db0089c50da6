"""An exported graph takes raw rows and gives what the runtime gives on scaled ones."""

from typing import Any

import numpy as np
import onnx
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.bundle.export import Units, export
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import open_runtime, reference
from accord.runtimes.onnx import load_onnxruntime
from accord.update.snapshot import Scaling
from edge_sdk import transforms
from quantize import make_bundle

RNG = np.random.default_rng(5)


def units_for(columns: int, **changes: Any) -> Units:
    mean = RNG.normal(3, 2, columns).astype(np.float32)
    return Units(mean=mean, factor=RNG.uniform(0.2, 3, columns).astype(np.float32), **changes)


def outputs_of(data: bytes, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    session = load_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("input", "tensor(float)", ["N", *x.shape[1:]])
    assert (made.name, made.shape[0]) == ("output", "N")
    found: np.ndarray = session.run(["output"], {"input": x})[0]
    return found


def trained(bundle: Bundle) -> np.ndarray:
    return bundle.params + RNG.normal(0, 0.1, bundle.params.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("model", "shape", "outputs", "loss"),
    [
        ("linear", (5,), 3, "softmax"),
        ("mlp:8,4", (5,), 1, "binary"),
        ("mlp:8", (2, 3), 4, "softmax"),
        ("cnn:small", (2, 8, 8), 3, "softmax"),
    ],
)
@pytest.mark.parametrize("graph", [True, False])
def test_the_same_outputs_as_the_runtime(
    model: str, shape: tuple[int, ...], outputs: int, loss: str, graph: bool
) -> None:
    if not graph and model.startswith("cnn"):
        with pytest.raises(UsageError):
            reference.make_bundle(model, shape, outputs, loss, 16, SeededEntropy(0))
        return
    made = (make_bundle if graph else reference.make_bundle)(model, shape, outputs, loss, 16, SeededEntropy(0))
    bundle = read_bundle(made)
    params, units = trained(bundle), units_for(shape[0])
    for rows in (1, 7, 40):  # more than the batch of training too
        x = RNG.normal(3, 2, (rows, *shape)).astype(np.float32)
        scaled = Scaling(mean=units.mean, factor=units.factor).inputs(x)
        wanted = open_runtime(bundle).predict(params, scaled)
        found = outputs_of(export(bundle, params, units, {}), x)
        assert found.shape == (rows, outputs)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", ["none", "log", "log1p"])
@pytest.mark.parametrize("make", [make_bundle, reference.make_bundle])
def test_values_come_out_in_original_units(transform: str, make: Any) -> None:
    bundle = read_bundle(make("mlp:6", (4,), 1, "mse", 16, SeededEntropy(1)))
    params = trained(bundle)
    units = units_for(4, target_mean=1.5, target_scale=0.25, transform=transform)
    scaling = Scaling(mean=units.mean, factor=units.factor, target_mean=1.5, target_scale=0.25)
    x = RNG.normal(3, 2, (9, 4)).astype(np.float32)
    values = scaling.originals(open_runtime(bundle).predict(params, scaling.inputs(x)))
    wanted = transforms.original(transform, values)
    np.testing.assert_allclose(outputs_of(export(bundle, params, units, {}), x), wanted, rtol=1e-4, atol=1e-5)


def test_names_of_the_bundle_never_meet_ours(tmp_path: Any) -> None:
    """A model whose own tensors bear every name that the export uses."""
    helper = onnx.helper
    tensors = {"mean": RNG.normal(0, 1, (3, 2)).astype(np.float32), "factor": np.ones(2, np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "mean"], ["centred"]),
            helper.make_node("Add", ["centred", "factor"], ["output"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["b", 3])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["b", 2])],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "m.onnx")
    bundle = read_bundle(make_bundle(str(tmp_path / "m.onnx"), (3,), 2, "softmax", 8, SeededEntropy(0)))
    params, units = trained(bundle), units_for(3)
    x = RNG.normal(0, 1, (4, 3)).astype(np.float32)
    wanted = open_runtime(bundle).predict(params, Scaling(mean=units.mean, factor=units.factor).inputs(x))
    np.testing.assert_allclose(outputs_of(export(bundle, params, units, {}), x), wanted, rtol=1e-4, atol=1e-5)


def test_the_file_says_what_it_is_and_is_the_same_every_time() -> None:
    bundle = read_bundle(reference.make_bundle("linear", (3,), 2, "softmax", 8, SeededEntropy(0)))
    units = units_for(3)
    data = export(bundle, bundle.params, units, {"accord.job": "j", "accord.version": "7"})
    assert data == export(bundle, bundle.params, units, {"accord.job": "j", "accord.version": "7"})
    session = load_onnxruntime().InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"accord.job": "j", "accord.version": "7"}


def test_parameters_of_another_model_are_refused() -> None:
    bundle = read_bundle(reference.make_bundle("linear", (3,), 2, "softmax", 8, SeededEntropy(0)))
    with pytest.raises(UsageError, match="8 parameters"):
        export(bundle, np.zeros(7, np.float32), units_for(3), {})
