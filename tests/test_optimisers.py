"""The optimisers against the textbook in float64, one formula at a time and all of them together."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accord.errors import CodecError, UsageError
from accord.optimisers import Adam, FlatOptimiser, Sgd, finite, optimiser_of
from accord.optimisers.finite import BLOCK
from accord.plan import MICRO, PICO, Training

USUAL: dict[str, Any] = {"epochs": 1, "batch_size": 8, "learning_rate": 50_000, "momentum": 0, "proximal": 0}


CANCELLED: dict[str, Any] = USUAL | {
    "learning_rate": 62_500,
    "optimiser": "adam",
    "beta1": 0,
    "beta2": 500_000,
    "weight_decay": 10_000,
    "clip_norm": MICRO,
}


class Textbook:
    """Every rule as its paper has it, in float64, with new arrays in each step."""

    def __init__(self, asked: Training, anchor: np.ndarray) -> None:
        self.asked, self.anchor, self.t = asked, anchor.astype(np.float64), 0
        self.velocity, self.first, self.second = np.zeros(len(anchor)), np.zeros(len(anchor)), np.zeros(len(anchor))
        self.firm = np.ones(len(anchor), bool)
        """Where a step's denominator was never near 0: decay may take a clipped gradient's last float32 digits away."""

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        asked = self.asked
        self.t += 1
        rate = asked.learning_rate / MICRO * (min(1, self.t / asked.warmup_steps) if asked.warmup_steps else 1)
        g, decay, momentum = g.astype(np.float64), asked.weight_decay / MICRO, asked.momentum / MICRO
        if asked.clip_norm and np.linalg.norm(g) > asked.clip_norm / MICRO:
            g = g * (asked.clip_norm / MICRO) / np.linalg.norm(g)
        g = g + asked.proximal / MICRO * (w - self.anchor)
        if asked.optimiser == "adamw":
            w = w - rate * decay * w
        else:
            g = g + decay * w
        if asked.optimiser in ("sgd", "nesterov"):
            self.velocity = momentum * self.velocity + g
            return w - rate * (g + momentum * self.velocity if asked.optimiser == "nesterov" else self.velocity)
        beta1, beta2 = asked.beta1 / MICRO, asked.beta2 / MICRO
        self.first = beta1 * self.first + (1 - beta1) * g
        self.second = beta2 * self.second + (1 - beta2) * g**2
        unbiased1, unbiased2 = self.first / (1 - beta1**self.t), self.second / (1 - beta2**self.t)
        self.firm &= np.sqrt(unbiased2) > 0.01 * np.sqrt(unbiased2).max()
        return w - rate * unbiased1 / (np.sqrt(unbiased2) + asked.epsilon / PICO)


@st.composite
def asked(draw: st.DrawFn) -> Training:
    def rate(low: float, high: float) -> int:
        return round(draw(st.floats(low, high)) * MICRO)

    optimiser = draw(st.sampled_from(["sgd", "nesterov", "adam", "adamw"]))
    momentum = {"sgd": (0.0, 0.95), "nesterov": (0.1, 0.95)}.get(optimiser)
    return Training(
        epochs=1,
        batch_size=8,
        learning_rate=rate(1e-4, 0.1),
        momentum=rate(*momentum) if momentum else 0,
        proximal=draw(st.sampled_from([0, MICRO // 10])),
        optimiser=optimiser,
        beta1=rate(0, 0.95),
        beta2=rate(0.5, 0.999),
        epsilon=draw(st.sampled_from([10_000, PICO // 1_000])),
        weight_decay=draw(st.sampled_from([0, MICRO // 100])),
        clip_norm=draw(st.sampled_from([0, MICRO, 5 * MICRO])),
        warmup_steps=draw(st.sampled_from([0, 1, 7, 100])),
    )


def gradients(size: int, seed: int, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    # Away from 0: where m and v both come near it, Adam's ratio has no float32 digits left, in any implementation.
    return [(rng.uniform(0.1, 1, size) * rng.choice([-1, 1], size)).astype(np.float32) for _ in range(steps)]


@settings(max_examples=150)
@given(training=asked(), size=st.sampled_from([1, 50, BLOCK - 1, BLOCK, BLOCK + 3]), seed=st.integers(0, 1 << 30))
@example(training=Training(**USUAL), size=2 * BLOCK + 1, seed=0)
@example(training=Training(**CANCELLED), size=BLOCK, seed=0)
def test_every_rule_follows_the_textbook(training: Training, size: int, seed: int) -> None:
    start = gradients(size, seed + 1, 1)[0]
    params, exact = start.copy(), start.astype(np.float64)
    optimiser, textbook = optimiser_of(training, start), Textbook(training, start)
    for gradient in gradients(size, seed, 12):
        before = gradient.copy()
        optimiser.step(params, gradient)
        assert np.array_equal(gradient, before), "the gradient must be left alone"
        exact = textbook.step(exact, gradient)
    assert textbook.firm.mean() > 0.9
    assert np.abs(params - exact)[textbook.firm].max() < 2e-5


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient() -> None:
    params = np.zeros(3, np.float32)
    Adam(params, learning_rate=0.01).step(params, np.array([1e-3, -1.0, 1e3], np.float32))
    assert np.allclose(params, [-0.01, 0.01, -0.01], rtol=1e-4)


def test_adamw_decays_what_has_no_gradient_and_adam_what_it_had_moved() -> None:
    plain, decoupled = np.ones(2, np.float32), np.ones(2, np.float32)
    nothing = np.zeros(2, np.float32)
    Adam(plain, learning_rate=0.1, weight_decay=0.5).step(plain, nothing)
    Adam(decoupled, learning_rate=0.1, weight_decay=0.5, decoupled=True).step(decoupled, nothing)
    assert np.allclose(decoupled, 0.95)
    assert np.allclose(plain, 0.9), "a penalty's gradient passes through the moments, which take away its size"


def test_a_gradient_within_the_norm_is_not_touched_and_a_huge_one_keeps_its_direction() -> None:
    params = np.zeros(2, np.float32)
    Sgd(params, learning_rate=1.0, clip_norm=5.0).step(params, np.array([3, -4], np.float32))
    assert params.tolist() == [-3, 4]
    params[:] = 0  # the squares are beyond float32
    Sgd(params, learning_rate=1.0, clip_norm=5.0).step(params, np.array([3e30, -4e30], np.float32))
    assert np.allclose(params, [-3, 4])


def test_warm_up_grows_by_the_same_amount_in_each_step() -> None:
    params, ones = np.zeros(1, np.float32), np.ones(1, np.float32)
    optimiser, places = Sgd(params, learning_rate=0.4, warmup_steps=4), [0.0]
    for _ in range(6):
        optimiser.step(params, ones)
        places.append(-float(params[0]))
    assert np.allclose(np.diff(places), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam", "adamw"])
def test_a_step_allocates_nothing_that_grows_with_the_model(name: str) -> None:
    size = 1 << 20
    extras = {"proximal": 10_000, "weight_decay": 100, "clip_norm": MICRO, "warmup_steps": 5}
    momentum = {"momentum": 900_000} if name in ("momentum", "nesterov") else {}
    training = Training(**(USUAL | extras | momentum | {"optimiser": name.replace("momentum", "sgd")}))
    params, gradient = np.ones(size, np.float32), np.ones(size, np.float32)
    optimiser: FlatOptimiser = optimiser_of(training, params)
    optimiser.step(params, gradient)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(3):
            optimiser.step(params, gradient)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 16_384, "4 MiB of parameters must not show"


def test_the_anchor_is_a_copy() -> None:
    params = np.ones(3, np.float32)
    optimiser = Sgd(params, learning_rate=0.1, proximal=1.0)
    optimiser.step(params, np.ones(3, np.float32))
    optimiser.step(params, np.zeros(3, np.float32))
    assert np.allclose(params, 0.91)


@pytest.mark.parametrize(
    "rates",
    [
        {"learning_rate": -0.1}, {"momentum": 1.0}, {"proximal": -1.0}, {"learning_rate": math.nan},
        {"weight_decay": -1.0}, {"clip_norm": math.inf}, {"warmup_steps": -1},
    ],
)  # fmt: skip
def test_impossible_rates(rates: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="use 0"):
        Sgd(np.zeros(3, np.float32), **({"learning_rate": 0.1} | rates))


@pytest.mark.parametrize("rates", [{"beta1": 1.0}, {"beta2": -0.1}, {"epsilon": 0.0}, {"weight_decay": math.nan}])
@pytest.mark.parametrize("decoupled", [False, True])
def test_impossible_moments(rates: dict[str, Any], decoupled: bool) -> None:
    with pytest.raises(UsageError, match="use 0"):
        Adam(np.zeros(3, np.float32), learning_rate=0.1, decoupled=decoupled, **rates)


def test_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(UsageError, match="where 3 are expected"):
        Sgd(np.zeros(3, np.float32), learning_rate=0.1).step(np.zeros(4, np.float32), np.zeros(4, np.float32))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"optimiser": "nesterov"}, "give a momentum"),
        ({"optimiser": "adam", "momentum": 1}, "which has beta1"),
        ({"optimiser": "lion"}, "not one of sgd, nesterov, adam, adamw"),
        ({"epsilon": 0}, "epsilon"),
    ],
)
def test_a_plan_whose_optimiser_makes_no_sense_can_not_be_built(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(CodecError, match=says):
        Training(**(USUAL | fields))


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, BLOCK + 4])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_none_is_found_anywhere(place: int, value: float) -> None:
    vector = np.full(BLOCK + 5, np.finfo(np.float32).max)
    assert finite(vector), "a sum of large numbers may be infinite, they are not"
    vector[place] = value
    assert not finite(vector)
