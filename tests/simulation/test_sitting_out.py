"""Devices that can't train sit the round out by name, on the in-memory link; the round goes on, and nobody loops."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Plan, Task, Training, modulus_bits
from accord.runtimes import Runtime, open_runtime
from accord.update.pipeline import Contribution
from accord.update.snapshot import Snapshot, columns_of, unscaled
from aggregator.coordinator_values import Request
from edge_sdk.rows import Rows
from edge_sdk.trainer import Trainer
from quantize import make_bundle
from simulation.fleet import SimulatedFleet

SHAPE, CLASSES, BATCH = (5,), 3, 8


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(make_bundle("mlp:6", SHAPE, CLASSES, "softmax", BATCH, SeededEntropy(3)))


class Counting:
    """A trainer that counts how often work was asked of it."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self.asked = trainer, 0

    def work(self, plan: Plan, params: bytes) -> Contribution:
        self.asked += 1
        return self._trainer.work(plan, params)


class Cramped:
    """A runtime whose memory is full in its first step, and free afterwards."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self._steps = runtime, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._runtime, name)

    def gradients(self, *arguments: object) -> object:
        self._steps += 1
        if self._steps == 1:
            raise MemoryError
        return self._runtime.gradients(*arguments)  # type: ignore[arg-type]


def rows(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, *SHAPE)).astype(np.float32), rng.integers(0, CLASSES, 40)
    return Rows(x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])


def workers(bundle: Bundle, healthy: int) -> dict[str, Counting]:
    good = rows(0)
    labels = good.y_train.copy()
    labels[7] = 9
    ill = {
        "dev-label": dataclasses.replace(good, y_train=labels),
        "dev-memory": good,
        "dev-values": dataclasses.replace(good, x_train=good.x_train * np.float32(1e38)),
    }
    given = {f"dev-{n}": rows(n) for n in range(1, healthy + 1)} | ill
    found = {}
    for name, held in given.items():
        runtime = open_runtime(bundle, "reference")
        cramped: Runtime = Cramped(runtime) if name == "dev-memory" else runtime  # type: ignore[assignment]
        found[name] = Counting(Trainer(cramped, SHAPE, held, SeededEntropy(1).child(name)))
    return found


def fleet(bundle: Bundle, workers: Mapping[str, Counting]) -> SimulatedFleet:
    start = Snapshot(params=bundle.params.copy(), scaling=unscaled(columns_of(SHAPE)))
    return SimulatedFleet(
        workers=workers,
        layout=bundle.manifest.layout,
        params=start.encode(),
        bundle=b"bundle",
        entropy=SeededEntropy(5),
    )


def request(bundle: Bundle, devices: int) -> Request:
    return Request(
        purpose="train",
        devices=devices,
        cohorts=1,
        floor=3,
        cap=devices,
        training=Training(epochs=1, batch_size=BATCH, learning_rate=10_000, momentum=0, proximal=0, optimiser="adam"),
        fixed=Fixed(
            value_bits=16,
            modulus_bits=modulus_bits(16, devices),
            exponents=(0,) * len(bundle.manifest.layout.tensors),
            largest_weight=100,
        ),
        task=Task(kind="classification", outputs=CLASSES, target_exponent=0, transform="none"),
        length=bundle.manifest.layout.size,
        profile="standard",
    )


def test_the_round_goes_on_without_them_and_who_is_well_again_comes_back(bundle: Bundle) -> None:
    held = workers(bundle, healthy=4)
    scene = fleet(bundle, held)
    begun = scene.broker.now
    first = scene.round(request(bundle, 7), list(held), dropouts=False)
    assert first.closed is not None
    assert scene.broker.now - begun < scene.coordinator.settings.windows.grace, "nobody waited for those who can't"
    assert {notice.device: notice.reason for notice in first.withdrawn} == {
        "dev-label": "WrongLabel",
        "dev-memory": "OutOfMemory",
        "dev-values": "NotFinite",
    }
    assert sorted(first.closed.included) == ["dev-1", "dev-2", "dev-3", "dev-4"]
    named = {device: refusal.detail.partition(":")[0] for device, refusal in first.given_up}
    assert named == {"dev-label": "WrongLabel", "dev-memory": "OutOfMemory", "dev-values": "NotFinite"}
    assert {worker.asked for worker in held.values()} == {1}
    second = scene.round(request(bundle, 7), list(held), dropouts=False)
    assert second.closed is not None
    assert sorted(second.closed.included) == ["dev-1", "dev-2", "dev-3", "dev-4", "dev-memory"]
    assert {device for device, _ in second.given_up} == {"dev-label", "dev-values"}


def test_attempts_that_fail_for_want_of_devices_are_not_tried_again_by_those_who_can_not(bundle: Bundle) -> None:
    held = workers(bundle, healthy=2)
    attempted = fleet(bundle, held).round(request(bundle, 5), list(held), dropouts=False)
    assert attempted.closed is None
    assert [aborted.attempt for aborted in attempted.aborted] == [1, 2, 3]
    assert {held[name].asked for name in ("dev-label", "dev-memory", "dev-values")} == {1}


def test_a_later_attempt_does_not_wait_for_those_who_sit_the_round_out(bundle: Bundle) -> None:
    """Three of six vectors are too few for six; the next attempt is of three, and begins without its whole window."""
    held = workers(bundle, healthy=3)
    scene = fleet(bundle, held)
    begun = scene.broker.now
    attempted = scene.round(request(bundle, 6), list(held), dropouts=False)
    assert [aborted.reason for aborted in attempted.aborted] == ["TooFewVectors"]
    assert attempted.closed is not None
    assert attempted.closed.included == ("dev-1", "dev-2", "dev-3")
    assert scene.broker.now - begun < scene.coordinator.settings.windows.join
