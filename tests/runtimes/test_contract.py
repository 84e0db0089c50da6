"""What every runtime must do, asked of each: the same numbers, any number of rows, wrong shapes by name."""

import importlib.util
import itertools
from typing import Any

import numpy as np
import pytest

from accord.bundle.archive import Bundle
from accord.bundle.manifest import REGRESSIONS
from accord.errors import UsageError
from accord.runtimes import Runtime, check_golden, open_runtime
from tests.runtimes.bundles import BATCH, CASES, Case, bundle_of

PAIRS = [(case, runtime) for case in CASES for runtime in case.runtimes]
NEIGHBOURS = [(case, *pair) for case in CASES for pair in itertools.pairwise(case.runtimes)]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0].name} {pair[1]}", scope="module")
def pair(request: pytest.FixtureRequest) -> tuple[Case, str]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def bundle(pair: tuple[Case, str]) -> Bundle:
    return bundle_of(pair[0])


@pytest.fixture
def runtime(pair: tuple[Case, str]) -> Runtime:
    return open_runtime(bundle_of(pair[0]), pair[1])


def without_ranges(bundle: Bundle, gaps: Any) -> Any:
    """Leave out trained scales: their slope follows the largest value of the batch, which is no mean over its rows."""
    if bundle.quantization is not None:
        for place, slot in zip(bundle.manifest.layout.places, bundle.quantization.slots, strict=True):
            if slot.kind == "range":
                gaps[place.offset : place.offset + place.size] = 0
    return gaps


def rows(bundle: Bundle, runtime: Runtime, count: int) -> tuple[Any, Any]:
    """Rows as `gradients` takes them, and their targets."""
    x, y = raw_rows(bundle, count)
    return x if bundle.quantization is None else runtime.prepared(x), y


def raw_rows(bundle: Bundle, count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(count)
    manifest = bundle.manifest
    x = rng.standard_normal((count, *manifest.input_shape)).astype(np.float32)
    if manifest.loss in REGRESSIONS:  # far enough apart for both branches of huber
        return x, rng.normal(0, 2, (count, *manifest.target_shape)).astype(np.float32)
    return x, rng.integers(0, manifest.outputs if manifest.loss == "softmax" else 2, (count, *manifest.target_shape))


def test_golden_vectors_hold(bundle: Bundle, runtime: Runtime) -> None:
    assert check_golden(runtime, bundle) < 1e-5
    assert runtime.layout == bundle.manifest.layout


@pytest.mark.parametrize("count", [1, 2, 15, BATCH])
def test_ragged_batches_are_means(bundle: Bundle, runtime: Runtime, count: int) -> None:
    x, y = rows(bundle, runtime, count)
    loss, gradient = runtime.gradients(bundle.params, x, y)
    each = [runtime.gradients(bundle.params, x[i : i + 1], y[i : i + 1]) for i in range(count)]
    assert loss == pytest.approx(np.mean([one for one, _ in each]), rel=1e-5)
    mean = np.mean([g for _, g in each], axis=0)
    assert without_ranges(bundle, np.abs(gradient - mean)).max() <= 1e-5 * np.abs(mean).max()


def test_a_row_counts_as_much_as_its_weight(bundle: Bundle, runtime: Runtime) -> None:
    """A whole weight is that many copies of the row, weight 0 is none, and only the ratio of weights counts."""
    x, y = rows(bundle, runtime, 5)
    weights = np.array([2, 0, 1, 3, 1])
    copies = np.repeat(np.arange(5), weights)
    plain = runtime.gradients(bundle.params, x[copies], y[copies])
    metric = runtime.metric
    for given in (weights, weights.astype(np.float64) / 7, weights.astype(np.float32) * 1_000):
        loss, gradient = runtime.gradients(bundle.params, x, y, weights=given)
        assert loss == pytest.approx(plain[0], rel=1e-5)
        gaps = without_ranges(bundle, np.abs(gradient - plain[1]))
        assert gaps.max() <= 1e-5 * np.abs(plain[1]).max()
        assert runtime.metric == pytest.approx(metric, rel=1e-5)
    after = runtime.gradients(bundle.params, x, y)
    assert after[0] == pytest.approx(runtime.gradients(bundle.params, x, y, weights=np.ones(5))[0], rel=1e-6)


def test_the_metric_is_of_the_rows_of_the_last_step(bundle: Bundle, runtime: Runtime) -> None:
    assert np.isnan(runtime.metric)
    for count in (7, 12):
        x, y = rows(bundle, runtime, count)
        runtime.gradients(bundle.params, x, y)
        outputs = runtime.predict(bundle.params, x)
        truth = y.reshape(outputs.shape) if bundle.manifest.loss != "softmax" else y
        expected = {
            "softmax": lambda o=outputs, t=truth: (o.argmax(axis=1) == t).mean(),
            "binary": lambda o=outputs, t=truth: ((o > 0) == (t == 1)).mean(),
        }.get(bundle.manifest.loss, lambda o=outputs, t=truth: np.abs(o - t).mean())
        assert runtime.metric == pytest.approx(expected(), rel=1e-5)


@pytest.mark.parametrize(
    "weights",
    [[1, 1, 1], [[1], [1], [1], [1]], [0, 0, 0, 0], [1, -1, 1, 1], [1, np.nan, 1, 1], [1, np.inf, 1, 1], [2e38] * 4],
    ids=["short", "a column", "none", "negative", "NaN", "infinite", "too heavy"],
)
def test_weights_that_are_none_are_refused(bundle: Bundle, runtime: Runtime, weights: Any) -> None:
    x, y = rows(bundle, runtime, 4)
    with pytest.raises(UsageError, match="weights"):
        runtime.gradients(bundle.params, x, y, weights=np.array(weights))


@pytest.mark.parametrize(
    ("case", "one", "other"), NEIGHBOURS, ids=lambda part: part.name if isinstance(part, Case) else part
)
def test_runtimes_give_the_same_numbers(case: Case, one: str, other: str) -> None:
    bundle = bundle_of(case)
    left, right = open_runtime(bundle, one), open_runtime(bundle, other)
    x, y = rows(bundle, left, 13)
    for seed in range(3):
        params = bundle.params + np.random.default_rng(seed).normal(0, 0.3, bundle.params.size).astype(np.float32)
        first, second = left.gradients(params, x, y), right.gradients(params, x, y)
        assert first[0] == pytest.approx(second[0], rel=1e-5)
        assert np.abs(first[1] - second[1]).max() <= 1e-5 * np.abs(first[1]).max()
        outputs = left.predict(params, x)
        assert np.abs(outputs - right.predict(params, x)).max() <= 1e-5 * max(1.0, float(np.abs(outputs).max()))


def test_every_runtime_tells_of_the_exported_model(bundle: Bundle, runtime: Runtime) -> None:
    """What is emulated is what onnxruntime runs, but for what its integer kernels round on top, on few rows."""
    x, _ = raw_rows(bundle, 40)
    if bundle.quantization is None:
        assert runtime.exported(bundle.params, x) is None
        return
    for seed in range(2):
        params = bundle.params + np.random.default_rng(seed).normal(0, 0.05, bundle.params.size).astype(np.float32)
        found, inside = runtime.exported(params, x), runtime.predict(params, runtime.prepared(x))
        assert found is not None
        peak = np.abs(inside).max()
        assert 0 < np.abs(found - inside).max() < 0.05 * peak, "near the model in training, and not the same"
        if runtime.emulates and importlib.util.find_spec("onnxruntime") is not None:
            run = open_runtime(bundle, "onnx").exported(params, x)
            assert run is not None
            assert np.median(np.abs(found - run)) < 1e-6 * peak
            assert np.abs(found - run).max() < 0.05 * peak


def test_out_is_filled_and_parameters_are_left_alone(bundle: Bundle, runtime: Runtime) -> None:
    x, y = rows(bundle, runtime, 4)
    out = np.full(bundle.params.size, np.nan, np.float32)
    loss, gradient = runtime.gradients(bundle.params, x, y, out)
    assert gradient is out
    assert np.isfinite(out).all()
    again, fresh = runtime.gradients(bundle.params, x, y)
    assert fresh is not out
    assert again == loss
    assert np.array_equal(fresh, out)


def test_parameters_that_change_in_place_are_seen(bundle: Bundle, runtime: Runtime) -> None:
    x, y = rows(bundle, runtime, 4)
    params = bundle.params.copy()
    before, _ = runtime.gradients(params, x, y)
    params *= np.float32(0.5)
    after, _ = runtime.gradients(params, x, y)
    assert before != after
    assert after == runtime.gradients(params.copy(), x, y)[0]


@pytest.mark.parametrize("count", [0, 1, BATCH + 3, 1_100])
def test_any_number_of_rows_is_predicted(bundle: Bundle, runtime: Runtime, count: int) -> None:
    x, _ = rows(bundle, runtime, max(count, 1))
    found = runtime.predict(bundle.params, x[:count])
    assert found.shape == (count, bundle.manifest.outputs)
    assert found.dtype == np.float32
    if count > 1:
        assert np.allclose(found[-1], runtime.predict(bundle.params, x[-1:])[0], atol=1e-5)


def test_other_dtypes_and_orders_are_taken(bundle: Bundle, runtime: Runtime) -> None:
    x, y = rows(bundle, runtime, 6)
    loss, _ = runtime.gradients(bundle.params, x, y)
    odd = np.asfortranarray(np.repeat(raw_rows(bundle, 6)[0].astype(np.float64), 2, axis=0)[::2])
    if bundle.quantization is not None:
        odd = runtime.prepared(odd)
    integers = (np.int8, np.uint8, np.int64) if bundle.manifest.loss == "softmax" else (np.float64, np.float32)
    for kind in integers:
        assert runtime.gradients(bundle.params, odd, y.astype(kind))[0] == pytest.approx(loss, rel=1e-5)


def test_wrong_shapes_are_refused_by_name(bundle: Bundle, runtime: Runtime) -> None:
    x, y = rows(bundle, runtime, 4)
    with pytest.raises(UsageError, match="rows of shape"):
        runtime.gradients(bundle.params, x[..., :-1], y)
    with pytest.raises(UsageError, match="rows of shape"):
        runtime.predict(bundle.params, x[..., :-1])
    with pytest.raises(UsageError, match="targets of shape"):
        runtime.gradients(bundle.params, x, y[:3])
    with pytest.raises(UsageError, match="a batch of 1 to"):
        runtime.gradients(bundle.params, x[:0], y[:0])
    with pytest.raises(UsageError, match="a batch of 1 to"):
        runtime.gradients(bundle.params, *rows(bundle, runtime, BATCH + 1))
    with pytest.raises(UsageError, match="float32"):
        runtime.gradients(bundle.params.astype(np.float64), x, y)
    with pytest.raises(UsageError, match="parameters is expected"):
        runtime.gradients(bundle.params[:-1].copy(), x, y)


def test_labels_outside_the_classes_are_refused(bundle: Bundle, runtime: Runtime) -> None:
    x, y = rows(bundle, runtime, 4)
    if bundle.manifest.loss in REGRESSIONS:
        return
    for wrong in (-1, bundle.manifest.outputs + 2):
        bad = y.copy()
        bad[2] = wrong
        with pytest.raises(UsageError, match="label"):
            runtime.gradients(bundle.params, x, bad)
    if bundle.manifest.loss == "softmax":
        with pytest.raises(UsageError, match="integers"):
            runtime.gradients(bundle.params, x, y.astype(np.float32))
    else:
        with pytest.raises(UsageError, match="label"):
            runtime.gradients(bundle.params, x, np.where(np.arange(y.size).reshape(y.shape) == 1, np.nan, y))
