"""The trainer stops between any two steps and comes to the same bits; each step tells what it did."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from accord.bundle.archive import Bundle, read_bundle
from accord.entropy import SeededEntropy
from accord.errors import CannotTrain
from accord.plan import MICRO, Fixed, Plan, Task, Training
from accord.runtimes import Runtime, open_runtime
from accord.update.pipeline import Contribution
from accord.update.snapshot import Snapshot, columns_of, unscaled
from edge_sdk.pace import Paused, Progress
from edge_sdk.rows import Rows
from edge_sdk.trainer import Trainer
from quantize import make_bundle

TRAIN, TEST, BATCH, EPOCHS = 70, 2_100, 16, 3
STEPS = EPOCHS * 5
ASKED = 3 + STEPS + 1
"""Three slices of evaluation, the steps of training, and the end."""


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(make_bundle("mlp:8,6", (5,), 3, "softmax", BATCH, SeededEntropy(3)))


@pytest.fixture(params=["reference", "onnx"])
def make(request: pytest.FixtureRequest, bundle: Bundle) -> Callable[..., Trainer]:
    def made(**options: object) -> Trainer:
        source = options.pop("rows", rows())
        return Trainer(open_runtime(bundle, request.param), (5,), source, SeededEntropy(9), **options)

    return made


def rows(seed: int = 1) -> Rows:
    rng = np.random.default_rng(seed)
    return Rows(
        x_train=rng.normal(size=(TRAIN, 5)).astype(np.float32),
        y_train=rng.integers(0, 3, TRAIN),
        x_test=rng.normal(size=(TEST, 5)).astype(np.float32),
        y_test=rng.integers(0, 3, TEST),
    )


def plan(**changes: object) -> Plan:
    fields = {
        "tenant": "t",
        "job": "j",
        "round": 4,
        "attempt": 1,
        "purpose": "train",
        "base_version": 3,
        "bundle_digest": bytes(32),
        "params_digest": bytes(32),
        "previous": bytes(32),
        "checkpoint": b"c",
        "roles_version": 1,
        "revocations_digest": bytes(32),
        "seal_key": bytes(32),
        "profile": "standard",
        "cohort_floor": 3,
        "cohort_cap": 9,
        "training": Training(
            epochs=EPOCHS, batch_size=BATCH, learning_rate=MICRO // 10, momentum=MICRO // 2, proximal=MICRO // 100
        ),
        "fixed": Fixed(value_bits=16, modulus_bits=24, exponents=(0,) * 6, largest_weight=100),
        "task": Task(kind="classification", outputs=3, target_exponent=0, transform="none"),
        "length": 1,
        "expires": 10**9,
    }
    return Plan(**(fields | changes))


def params(bundle: Bundle) -> bytes:
    return Snapshot(params=bundle.params.copy(), scaling=unscaled(columns_of((5,)))).encode()


def same(one: Contribution, other: Contribution) -> bool:
    assert one.delta is not None
    assert other.delta is not None
    assert one.figures.keys() == other.figures.keys()
    figures = all(np.array_equal(one.figures[name], other.figures[name]) for name in one.figures)
    return one.rows == other.rows and one.delta.tobytes() == other.delta.tobytes() and figures


def test_work_that_stops_anywhere_comes_to_the_same_bits(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    straight = make().work(plan(), params(bundle))
    for stop in range(ASKED):
        asked = iter([True] * stop + [False] * 2 + [True] * 99)
        trainer = make(pace=lambda answers=asked: next(answers))
        for _ in range(2):
            with pytest.raises(Paused):
                trainer.work(plan(), params(bundle))
        assert same(trainer.work(plan(), params(bundle)), straight), f"stopped before step {stop}"


ASKING: dict[str, dict[str, object]] = {
    "nesterov": {"optimiser": "nesterov", "momentum": MICRO // 2},
    "adam": {"optimiser": "adam", "warmup_steps": 6},
    "adamw": {"optimiser": "adamw", "weight_decay": MICRO // 100, "clip_norm": MICRO // 10},
    "fedprox": {"proximal": MICRO, "clip_norm": MICRO},
}


@pytest.mark.parametrize("name", ASKING)
def test_every_optimiser_that_stops_between_two_steps_comes_to_the_same_bits(
    name: str, bundle: Bundle, make: Callable[..., Trainer]
) -> None:
    usual = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": MICRO // 50, "momentum": 0, "proximal": 0}
    asked = plan(training=Training(**(usual | ASKING[name])))  # type: ignore[arg-type]
    straight = make().work(asked, params(bundle))
    assert not same(straight, make().work(plan(), params(bundle))), "the plan's optimiser is the one that ran"
    for stop in range(ASKED):
        answers = iter([True] * stop + [False] + [True] * 99)
        trainer = make(pace=lambda given=answers: next(given))
        with pytest.raises(Paused):
            trainer.work(asked, params(bundle))
        assert same(trainer.work(asked, params(bundle)), straight), f"stopped before step {stop}"


def test_stopping_before_every_step_is_the_same_too(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    def hesitant() -> Iterator[bool]:
        while True:
            yield False
            yield True
            yield False

    answers = hesitant()
    trainer = make(pace=lambda: next(answers))
    pauses = 0
    while True:
        try:
            found = trainer.work(plan(), params(bundle))
        except Paused:
            pauses += 1
        else:
            break
    assert pauses >= ASKED
    assert same(found, make().work(plan(), params(bundle)))


@pytest.mark.parametrize("purpose", ["powers", "moments"])
def test_statistics_look_at_some_rows_at_a_time(purpose: str, make: Callable[..., Trainer]) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20_000, 5)).astype(np.float32)
    many = Rows(x_train=x, y_train=np.zeros(len(x), np.int64), x_test=x[:0], y_test=np.zeros(0, np.int64))
    asked = plan(
        purpose=purpose, length=5, fixed=Fixed(value_bits=16, modulus_bits=24, exponents=(2,) * 5, largest_weight=100)
    )
    straight = make(rows=many).work(asked, b"")
    answers = iter([True, True, False, *[True] * 99])
    trainer = make(rows=many, pace=lambda: next(answers))
    with pytest.raises(Paused):
        trainer.work(asked, b"")
    found = trainer.work(asked, b"")
    assert all(np.array_equal(found.figures[name], straight.figures[name]) for name in straight.figures)
    assert found.figures["count"] == len(x)
    if purpose == "powers":
        assert np.sum(found.figures["powers"]) == x.size
    else:
        parts = np.clip(x.astype(np.float64) / 4, -1, 1)
        assert np.allclose(found.figures["squared"], (parts**2).sum(axis=0))
        assert np.allclose(found.figures["positive"], np.maximum(parts, 0).sum(axis=0))
        assert np.allclose(found.figures["negative"], np.maximum(-parts, 0).sum(axis=0))


def test_not_one_step_is_taken_after_the_answer_is_no(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    steps: list[Progress] = []
    trainer = make(pace=lambda: len(steps) < 4, progress=steps.append)
    with pytest.raises(Paused):
        trainer.work(plan(), params(bundle))
    assert len(steps) == 4
    with pytest.raises(Paused):
        trainer.work(plan(), params(bundle))
    assert len(steps) == 4


def test_each_step_tells(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    steps: list[Progress] = []
    make(progress=steps.append).work(plan(), params(bundle))
    assert [s.step for s in steps] == list(range(1, STEPS + 1))
    assert [s.epoch for s in steps] == [1] * 5 + [2] * 5 + [3] * 5
    assert {(s.round, s.attempt, s.epochs, s.steps) for s in steps} == {(4, 1, EPOCHS, STEPS)}
    assert all(0 < s.loss < 5 for s in steps)


def test_other_work_leaves_what_was_stopped(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    answers = iter([True] * 8 + [False] + [True] * 99)
    trainer = make(pace=lambda: next(answers))
    with pytest.raises(Paused):
        trainer.work(plan(), params(bundle))
    other = plan(attempt=2)
    assert same(trainer.work(other, params(bundle)), make().work(other, params(bundle)))


def test_rows_are_asked_for_when_work_begins_and_not_while_it_rests(
    bundle: Bundle, make: Callable[..., Trainer]
) -> None:
    given = iter([rows(1), rows(2)])
    answers = iter([True] * 8 + [False] + [True] * 99)
    trainer = make(rows=lambda: next(given), pace=lambda: next(answers))
    with pytest.raises(Paused):
        trainer.work(plan(), params(bundle))
    assert same(trainer.work(plan(), params(bundle)), make(rows=rows(1)).work(plan(), params(bundle)))
    assert same(trainer.work(plan(), params(bundle)), make(rows=rows(2)).work(plan(), params(bundle)))


def test_work_that_fails_is_not_gone_on_with(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    good = rows()
    bad = Rows(x_train=good.x_train, y_train=good.y_train + 7, x_test=good.x_test, y_test=good.y_test)
    given = iter([bad, bad, good])
    trainer = make(rows=lambda: next(given))
    for _ in range(2):
        with pytest.raises(CannotTrain, match="WrongLabel: training row 0 has label"):
            trainer.work(plan(), params(bundle))
    assert same(trainer.work(plan(), params(bundle)), make().work(plan(), params(bundle)))


@pytest.mark.parametrize(
    ("part", "label", "says"),
    [
        ("y_train", 3, "training row 5 has label 3, where a class from 0 to 2 is expected"),
        ("y_test", 3, "test row 5 has label 3"),
        ("y_test", -1, "test row 5 has label -1"),
        ("y_train", 0.5, "training row 5 has label 0.5"),
        ("y_train", np.nan, "training row 5 has label nan"),
    ],
)
def test_one_wrong_label_is_named_with_its_row(
    part: str, label: float, says: str, bundle: Bundle, make: Callable[..., Trainer]
) -> None:
    good = rows()
    y = getattr(good, part).astype(np.int64 if isinstance(label, int) else np.float64)
    y[5] = label
    bad = dataclasses.replace(good, **{part: y})
    for purpose in ("train", "evaluate"):
        with pytest.raises(CannotTrain, match=says) as found:
            make(rows=bad).work(plan(purpose=purpose), params(bundle))
        assert found.value.reason == "WrongLabel"


def test_a_step_that_explodes_is_named_and_not_taken(bundle: Bundle, make: Callable[..., Trainer]) -> None:
    steps: list[Progress] = []
    hot = Training(epochs=EPOCHS, batch_size=BATCH, learning_rate=1_000 * MICRO, momentum=MICRO - 1, proximal=0)
    huge = rows()
    huge = dataclasses.replace(
        huge, x_train=huge.x_train * np.float32(1e20), x_test=huge.x_test[:0], y_test=huge.y_test[:0]
    )
    trainer = make(rows=huge, progress=steps.append)
    for _ in range(2):
        steps.clear()
        with pytest.raises(CannotTrain, match="lower the learning rate or set clip_norm") as found:
            trainer.work(plan(training=hot), params(bundle))
        assert found.value.reason == "NotFinite"
        assert all(np.isfinite(step.loss) for step in steps)
        assert len(steps) < STEPS


class Cramped:
    """A runtime on a device whose memory is full in one step, and free afterwards."""

    def __init__(self, runtime: Runtime, full_in: int) -> None:
        self._runtime, self._left = runtime, full_in

    def __getattr__(self, name: str) -> object:
        return getattr(self._runtime, name)

    def gradients(self, *arguments: object) -> object:
        self._left -= 1
        if self._left == 0:
            raise MemoryError
        return self._runtime.gradients(*arguments)  # type: ignore[arg-type]


def test_memory_that_is_full_is_named_and_the_next_work_begins_anew(bundle: Bundle) -> None:
    runtime = Cramped(open_runtime(bundle, "reference"), full_in=4)
    trainer = Trainer(runtime, (5,), rows(), SeededEntropy(9))  # type: ignore[arg-type]
    with pytest.raises(CannotTrain, match="smaller batch_size") as found:
        trainer.work(plan(), params(bundle))
    assert found.value.reason == "OutOfMemory"
    straight = Trainer(open_runtime(bundle, "reference"), (5,), rows(), SeededEntropy(9)).work(plan(), params(bundle))
    assert same(trainer.work(plan(), params(bundle)), straight)
