"""The NumPy runtime against float64 finite differences, and its bundle against its own golden vectors."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import Refusal, UsageError
from accord.runtimes import check_golden, open_runtime, reference
from accord.tensors import Layout


def exact_loss(  # noqa: PLR0917 - a formula's letters
    layout: Layout,
    params: npt.NDArray[Any],
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    loss: str,
    weights: npt.NDArray[Any],
) -> float:
    """The weighted mean loss in float64, written from the definitions."""
    values, offset = [], 0
    for place in layout.places:
        values.append(params[offset : offset + place.size].reshape(place.shape))
        offset += place.size
    signal = x.reshape(len(x), -1).astype(np.float64)
    for layer in range(0, len(values), 2):
        signal = signal @ values[layer] + values[layer + 1]
        if layer + 2 < len(values):
            signal = np.maximum(signal, 0)
    if loss == "softmax":
        each = np.log(np.exp(signal).sum(1)) - signal[np.arange(len(x)), y]
        return float(np.average(each, weights=weights))
    targets = y.reshape(signal.shape)
    gap = signal - targets
    cells = {
        "binary": np.logaddexp(0, signal) - targets * signal,
        "mse": gap**2,
        "huber": np.where(np.abs(gap) <= 1, gap**2 / 2, np.abs(gap) - 0.5),
    }
    return float(np.average(cells[loss].mean(axis=1), weights=weights))


CASES = [
    ("linear", "softmax", 3),
    ("mlp:7", "softmax", 4),
    ("mlp:8,5", "softmax", 3),
    ("linear", "binary", 1),
    ("mlp:6", "binary", 2),
    ("linear", "mse", 1),
    ("mlp:9,4", "mse", 3),
    ("linear", "huber", 1),
    ("mlp:9,4", "huber", 3),
]


@pytest.mark.parametrize(("model", "loss", "outputs"), CASES)
@pytest.mark.parametrize(
    "weights", [[3.0], [1, 1, 1, 1, 1], [0.5, 0, 2, 1, 0.25]], ids=["one row", "alike", "weighted"]
)
def test_gradients_match_finite_differences(model: str, loss: str, outputs: int, weights: list[float]) -> None:
    rows, weighed = len(weights), np.array(weights)
    rng = np.random.default_rng(3)
    specification, params = reference.build(model, (2, 3), outputs, loss, SeededEntropy(1))
    params = params + rng.normal(0, 0.1, params.size).astype(np.float32)
    x = rng.standard_normal((rows, 2, 3)).astype(np.float32)
    y = rng.integers(0, outputs if loss == "softmax" else 2, (rows, *specification.target_shape))
    given = None if len(set(weights)) == 1 else weighed
    value, gradient = reference.Reference(specification).gradients(params, x, y, weights=given)
    layout, exact = specification.layout, params.astype(np.float64)
    assert value == pytest.approx(exact_loss(layout, exact, x, y, loss, weighed), rel=1e-5)
    numeric = np.empty(params.size)
    for i in range(params.size):
        step = np.zeros(params.size)
        step[i] = 1e-6
        ends = [exact_loss(layout, exact + sign * step, x, y, loss, weighed) for sign in (1, -1)]
        numeric[i] = (ends[0] - ends[1]) / 2e-6
    for place in layout.places:
        part = slice(place.offset, place.offset + place.size)
        assert np.abs(gradient[part] - numeric[part]).max() <= 1e-5 * np.abs(numeric[part]).max(), place.name


@pytest.mark.parametrize("loss", ["softmax", "binary"])
def test_huge_outputs_do_not_overflow(loss: str) -> None:
    specification, params = reference.build("linear", (2,), 2, loss, SeededEntropy(0))
    x = np.array([[1e6, -1e6], [-1e6, 1e6]], np.float32)
    y = np.array([0, 1]) if loss == "softmax" else np.array([[0, 1], [1, 0]])
    value, gradient = reference.Reference(specification).gradients(params, x, y)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_bundle_without_onnx() -> None:
    data = reference.make_bundle("mlp:100", (8, 8), 10, "softmax", 32, SeededEntropy(5))
    assert data == reference.make_bundle("mlp:100", (8, 8), 10, "softmax", 32, SeededEntropy(5))
    bundle = read_bundle(data)
    assert bundle.train is None
    runtime = open_runtime(bundle)
    assert isinstance(runtime, reference.Reference)
    assert check_golden(runtime, bundle) < 1e-6
    with pytest.raises(UsageError, match=r"no train\.onnx"):
        open_runtime(bundle, "onnx")
    with pytest.raises(UsageError, match="unknown"):
        open_runtime(bundle, "torch")


def test_a_runtime_that_computes_wrongly_may_not_train() -> None:
    bundle = read_bundle(reference.make_bundle("mlp:100", (8, 8), 10, "softmax", 32, SeededEntropy(5)))

    class Wrong(reference.Reference):
        def gradients(self, *arguments: Any) -> Any:
            loss, gradient = super().gradients(*arguments)
            gradient[self.layout.places[0].offset + int(np.frombuffer(bundle.golden.checks[0].places, "<u4")[7])] *= 1.1
            return loss, gradient

    with pytest.raises(Refusal, match=r"gradient of 'dense1.weight' came out as .* where the bundle says") as caught:
        check_golden(Wrong(bundle.manifest), bundle)
    assert caught.value.reason == "GoldenMismatch"

    class Silent(reference.Reference):
        def predict(self, *arguments: Any) -> Any:
            return super().predict(*arguments) * np.float32(np.nan)

    with pytest.raises(Refusal, match="GoldenMismatch: an output"):
        check_golden(Silent(bundle.manifest), bundle)


@pytest.mark.parametrize("model", ["cnn:small", "mlp:", "mlp:a", "linear:3", "mlp:-1", "onnx"])
def test_models_that_numpy_does_not_train(model: str) -> None:
    with pytest.raises(UsageError):
        reference.build(model, (4,), 2, "softmax", SeededEntropy(0))
