"""A device that trains int8 weights stops between any two steps, and sends what leads from what came onto the grid."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.plan import MICRO, Training
from accord.runtimes import open_runtime
from accord.update.snapshot import Snapshot, columns_of, unscaled
from edge_sdk.pace import Paused
from edge_sdk.trainer import Trainer
from quantize import Choices, make_bundle
from tests.edge_sdk.test_trainer import ASKED, BATCH, EPOCHS, params, plan, rows, same


@pytest.fixture(scope="module")
def stepped() -> Bundle:
    choices = Choices(tier="int8")
    return read_bundle(make_bundle("mlp:8,6", (5,), 3, "softmax", BATCH, SeededEntropy(3), None, choices))


@pytest.mark.parametrize("momentum", [0, MICRO // 2])
def test_int8_weights_whose_training_stops_anywhere_come_to_the_same_bits(stepped: Bundle, momentum: int) -> None:
    training = Training(epochs=EPOCHS, batch_size=BATCH, learning_rate=MICRO // 10, momentum=momentum, proximal=0)
    asked = plan(training=training)

    def trainer(seed: int = 9, pace: Callable[[], bool] = lambda: True) -> Trainer:
        return Trainer(open_runtime(stepped, "onnx"), (5,), rows(), SeededEntropy(seed), pace=pace)

    straight = trainer().work(asked, params(stepped))
    for stop in range(ASKED):
        answers = iter([True] * stop + [False] + [True] * 99)
        stopping = trainer(pace=lambda given=answers: next(given))  # type: ignore[misc]
        with pytest.raises(Paused):
            stopping.work(asked, params(stepped))
        assert same(stopping.work(asked, params(stepped)), straight), f"stopped before step {stop}"
    assert not same(trainer().work(dataclasses.replace(asked, attempt=2), params(stepped)), straight)
    assert not same(trainer(seed=8).work(asked, params(stepped)), straight)


def test_what_int8_weights_send_leads_from_what_came_to_a_point_on_the_grid(stepped: Bundle) -> None:
    rng = np.random.default_rng(2)
    between = (stepped.params + rng.normal(0, 1e-3, stepped.params.size)).astype(np.float32)
    came = Snapshot(params=between, scaling=unscaled(columns_of((5,)))).encode()
    runtime = open_runtime(stepped, "onnx")
    grid = runtime.grid
    assert grid is not None
    found = Trainer(runtime, (5,), rows(), SeededEntropy(9)).work(plan(), came)
    assert found.delta is not None
    reached = between + found.delta
    assert np.abs(reached - grid.values(grid.nearest(reached))).max() < 1e-6
    assert np.abs(between - grid.values(grid.nearest(between))).max() > 1e-4
    idle = Training(epochs=0, batch_size=BATCH, learning_rate=MICRO, momentum=0, proximal=0)
    still = Trainer(runtime, (5,), rows(), SeededEntropy(9)).work(plan(training=idle), came)
    assert still.delta is not None
    assert not still.delta.any(), "who did not train changes nothing, not by rounding either"
