"""Gradients three times: onnxruntime, the float64 oracle, and finite differences of the oracle's loss."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from quantize.differentiate.backward import TrainingGraph, training_graph
from quantize.network import Network, read_network
from quantize.oracle import exact
from tests.quantize.graphs import Case, forward, with_last

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Array = npt.NDArray[Any]


def run(graph: TrainingGraph, feeds: dict[str, Array]) -> list[Any]:
    import onnxruntime  # noqa: PLC0415 - after the variable is set

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(list(graph.output_names), feeds)
    return found


def check_case(case: Case, loss: str, rows: int = 3) -> None:
    nodes, tensors, size = case
    check_model(with_last(nodes, tensors, size), size, loss, rows)


def check_model(model: onnx.ModelProto, size: tuple[int, ...], loss: str, rows: int = 3) -> Network:
    network = read_network(model, size, loss, fold_norms=False)
    x, outputs = check_network(network, loss, rows)
    expected = forward(model, x.astype(np.int64) if network.ids else x)
    assert np.allclose(outputs, expected, rtol=1e-5, atol=1e-5), "the network computes what the model does"
    return network


def check_network(network: Network, loss: str, rows: int = 3) -> tuple[Array, Array]:
    """Check all gradients; return rows of x, float32, and the outputs."""
    graph = training_graph(network, loss)
    rng = np.random.default_rng(1)
    size = [int(dim or 0) for dim in network.shapes[network.x][1:]]
    x = rng.integers(0, network.ids, (rows, *size)) if network.ids else rng.uniform(-1, 1, (rows, *size))
    count = network.outputs
    y: Array = (
        rng.integers(0, count, rows) if loss == "softmax" else rng.integers(0, 2, (rows, count)).astype(np.float32)
    )
    counted = np.resize(np.array([1.0, 0.5, 2.0], np.float32), rows)
    feeds = {**dict(zip(graph.input_names, (x.astype(np.float32), y, counted), strict=False)), **network.params}

    precise = exact(graph.model, graph.output_names, feeds)
    quick = run(graph, feeds)
    assert quick[0] == pytest.approx(float(precise[0]), rel=1e-5)
    assert quick[2] == pytest.approx(float(precise[2]), rel=1e-5)
    for weight, fast, slow in zip(network.params, quick[3:], precise[3:], strict=True):
        assert fast.shape == network.params[weight].shape
        assert np.abs(slow).max() > 0, f"{weight} has no gradient"
        assert np.abs(fast - slow).max() <= 1e-5 * np.abs(slow).max(), f"{weight} in onnxruntime"
    check_differences(graph, feeds, dict(zip(network.params, precise[3:], strict=True)))
    return x.astype(np.float32), quick[1]


def check_differences(graph: TrainingGraph, feeds: dict[str, Array], gradients: dict[str, Array]) -> None:
    """Differences along random directions: one number per direction tests every element at once."""
    wide = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in feeds.items()}
    for weight, slow in gradients.items():
        for seed in range(3):
            direction = np.random.default_rng(seed).standard_normal(slow.shape)
            ends = []
            for sign in (1, -1):
                moved = {**wide, weight: wide[weight] + sign * 1e-6 * direction}
                ends.append(float(exact(graph.model, graph.output_names[:1], moved)[0]))
            along = float((slow * direction).sum())
            scale = np.abs(slow).max() * np.sqrt(slow.size)
            assert abs((ends[0] - ends[1]) / 2e-6 - along) <= 1e-5 * scale, f"{weight} by differences"
