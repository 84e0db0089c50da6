"""What devices tell of the exported int8 model, and how rows pass through a frozen part."""

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.plan import Task
from accord.runtimes import open_runtime
from accord.update import tail
from accord.update.snapshot import unscaled
from edge_sdk.figures import figures_of
from edge_sdk.inputs import SLICE, prepared_rows
from quantize import Choices, make_bundle

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def head() -> Bundle:
    rows = np.random.default_rng(0).normal(size=(100, *SHAPE)).astype(np.float32)
    given = Choices(tier="head", rows=rows)
    return read_bundle(make_bundle("cnn:small", SHAPE, 3, "softmax", 16, SeededEntropy(1), None, given))


def drained(steps: Generator[None, None, Any]) -> tuple[int, Any]:
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return pauses, end.value
        pauses += 1


def test_rows_pass_the_frozen_part_once_with_a_pause_between_slices(head: Bundle) -> None:
    runtime = open_runtime(head)
    x = np.random.default_rng(1).normal(size=(3 * SLICE + 5, *SHAPE)).astype(np.float32)
    pauses, half = drained(prepared_rows(runtime, x))
    assert pauses == 3
    assert half.x.dtype == np.int8
    assert half.x.nbytes < x.nbytes / 4
    assert np.array_equal(half.rows(slice(None)), runtime.prepared(x))


def test_features_that_would_fill_the_memory_are_made_batch_by_batch() -> None:
    class Wide:
        def prepared(self, x: Any) -> Any:
            return np.repeat(x, 9, axis=1)

    x = np.ones((200, 2), np.float32)
    pauses, half = drained(prepared_rows(Wide(), x))  # type: ignore[arg-type]
    assert pauses == 0
    assert half.x is x
    assert half.rows(np.array([3, 4])).shape == (2, 18)


def test_without_a_frozen_part_no_row_is_copied() -> None:
    runtime = open_runtime(read_bundle(make_bundle("linear", (4,), 3, "softmax", 8, SeededEntropy(1))))
    x = np.ones((200, 4), np.float32)
    _, half = drained(prepared_rows(runtime, x))
    assert np.shares_memory(half.rows(slice(None)), x)


@pytest.mark.parametrize("kind", ["classification", "binary", "regression"])
def test_a_gate_adds_both_models_on_the_same_rows(kind: str) -> None:
    task = Task(
        kind=kind, outputs=3 if kind == "classification" else 1, target_exponent=0, transform="none", gate=5_000
    )
    y = np.array([0, 1, 1, 0])
    good = np.array([[3.0, 0, 0], [0, 3, 0], [0, 3, 0], [3, 0, 0]], np.float32)
    bad = np.roll(good, 1, axis=0)
    if kind != "classification":
        good, bad = ((part[:, 1:2] - 1 * (kind == "binary")) / 2 for part in (good, bad))
    found = figures_of(task, unscaled(1), good, bad, y)
    assert set(found) == {f.name for f in tail.fields(task)}
    assert found["exported_rows"] == 4
    if kind == "regression":
        assert found["exported_loss"] > found["graph_loss"] == found["loss"]
    else:
        assert found["exported_correct"] < found["graph_correct"] == found["correct"] == 4
    assert found["emulated_rows"] == 0
    assert figures_of(task, unscaled(1), good, bad, y, emulated=True)["emulated_rows"] == 4
    silent = figures_of(task, unscaled(1), good, None, y, emulated=True)
    assert silent["exported_rows"] == silent["emulated_rows"] == 0


def test_the_int8_model_is_run_from_the_parameters_of_the_round(head: Bundle) -> None:
    runtime = open_runtime(head)
    x = np.random.default_rng(2).normal(size=(40, *SHAPE)).astype(np.float32)
    for scale in (1.0, -2.0):
        params = head.params * np.float32(scale)
        inside = runtime.predict(params, runtime.prepared(x))
        running = runtime.exported(params, x)
        assert running is not None
        assert np.abs(inside - running).max() < 0.05 * np.abs(inside).max()


def test_a_float_model_has_nothing_to_compare() -> None:
    data = make_bundle("linear", (4,), 3, "softmax", 8, SeededEntropy(1))
    for name in ("onnx", "reference"):
        runtime = open_runtime(read_bundle(data), name)
        assert runtime.exported(np.zeros(15, np.float32), np.zeros((2, 4), np.float32)) is None
