"""Weights that are int8 steps: rounding is right on average, stays on the grid, and follows from its key."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.bundle.grid import BLOCK, GridWeights, WeightGrid
from accord.optimisers import OnGrid, Sgd, StochasticRounding, optimiser_of
from accord.plan import Training
from accord.tensors import Vector
from tests.bundle.test_grid import made_grid

KEYS = st.binary(min_size=32, max_size=32)
RATE = 0.01


def rounded(key: bytes, change: float, start: int, *, blocks: int = 1) -> np.ndarray:
    """Return many copies of one step, each changed once."""
    rounding = StochasticRounding(key)
    parts = []
    for number in range(blocks):
        steps = np.full(BLOCK, start, np.int8)
        assert rounding.add(steps, np.full(BLOCK, change, np.float32), step=1, block=number)
        parts.append(steps)
    return np.concatenate(parts).astype(np.float64)


@settings(deadline=None)
@given(KEYS, st.floats(-3, 3, width=32), st.integers(-120, 120))
def test_the_mean_of_what_was_rounded_is_what_was_asked_for(key: bytes, change: float, start: int) -> None:
    found = rounded(key, change, start) - start
    assert set(np.unique(found)) <= {np.floor(change), np.ceil(change)}
    part = abs(change) % 1
    assert abs(found.mean() - change) <= 6.5 * np.sqrt(part * (1 - part) / BLOCK) + 1 / BLOCK


@pytest.mark.parametrize("sign", [1, -1])
def test_changes_of_less_than_the_bits_of_one_weight_are_not_lost(sign: int) -> None:
    change, blocks = sign * 2.0**-18, 400
    moved = rounded(bytes(32), change, 5, blocks=blocks) - 5
    expected = 2.0**-18 * BLOCK * blocks
    assert set(np.unique(moved)) == {0, sign}
    assert expected / 2 < np.abs(moved).sum() < 2 * expected


@given(KEYS, st.integers(-127, 127), st.sampled_from([0.0, -0.0]))
def test_a_step_at_rest_stays(key: bytes, start: int, change: float) -> None:
    assert (rounded(key, change, start) == start).all()


@given(KEYS, st.integers(-127, 127), st.floats(width=32, allow_nan=False))
def test_nothing_leaves_the_grid(key: bytes, start: int, change: float) -> None:
    found = rounded(key, change, start)
    assert np.abs(found).max() <= 127
    if abs(change) > 300:
        assert (found == np.sign(change) * 127).all()


def test_what_is_no_number_is_told() -> None:
    steps = np.array([3, 4], np.int8)
    assert not StochasticRounding(bytes(32)).add(steps, np.array([1, np.nan], np.float32), step=1, block=0)
    assert steps.tolist() == [4, 0]


def test_bits_depend_on_key_step_and_block_and_on_nothing_else() -> None:
    def drawn(key: bytes, step: int, block: int) -> bytes:
        steps = np.zeros(BLOCK, np.int8)
        StochasticRounding(key).add(steps, np.full(BLOCK, 0.5, np.float32), step=step, block=block)
        return steps.tobytes()

    places = [(bytes(32), 1, 0), (bytes(32), 2, 0), (bytes(32), 1, 1), (b"1" * 32, 1, 0), (bytes(32), 2**32 + 1, 0)]
    assert len({drawn(*place) for place in places}) == len(places)
    assert drawn(*places[0]) == drawn(*places[0])
    assert repr(StochasticRounding(b"s" * 32)) == "StochasticRounding(...)", "the key is not shown"


def scene() -> tuple[WeightGrid, Vector, Vector]:
    """A weight of many channels between two biases, the round's parameters, and a gradient."""
    rng = np.random.default_rng(1)
    grid = made_grid((300, 200), 1, rng.uniform(1e-3, 1e-2, 200).astype(np.float32))
    params = rng.normal(0, 0.1, grid.layout.size).astype(np.float32)
    return grid, params, rng.normal(0, 1, grid.layout.size).astype(np.float32)


def parts(grid: WeightGrid, gradient: Vector) -> list[Vector]:
    """Return a gradient by tensor, as a runtime gives it."""
    return list(grid.layout.views(gradient).values())


def trained(steps: int, key: bytes = bytes(32), **asked: object) -> tuple[WeightGrid, GridWeights]:
    grid, params, gradient = scene()
    usual = {"epochs": 1, "batch_size": 8, "learning_rate": 10_000, "momentum": 0, "proximal": 0}
    rule = optimiser_of(Training(**(usual | asked)), params)  # type: ignore[arg-type]
    on_grid = OnGrid(grid, rule, StochasticRounding(key))
    weights = on_grid.start(params)
    for _ in range(steps):
        on_grid.step(weights, parts(grid, gradient))
    assert on_grid.finite
    return grid, weights


def test_it_starts_from_the_rounds_model_on_average() -> None:
    grid, params, _ = scene()
    gaps = []
    for seed in range(64):
        rule = Sgd(params, learning_rate=RATE)
        weights = OnGrid(grid, rule, StochasticRounding(bytes([seed]) * 32)).start(params)
        inside = np.abs(params[3:-3].reshape(300, 200) / grid.tensors[1].blocks[0].scales.reshape(-1)) < 127
        gap = (grid.values(weights) - params)[3:-3].reshape(300, 200) / grid.tensors[1].blocks[0].scales.reshape(-1)
        assert np.abs(gap[inside]).max() <= 1.001
        gaps.append(gap[inside])
    assert abs(np.mean(gaps)) < 6 * 0.5 / np.sqrt(np.size(gaps))
    assert np.abs(np.mean(gaps, axis=0)).max() < 6 * 0.5 / np.sqrt(64), "each weight by itself, too"


ASKED: list[dict[str, object]] = [
    {},
    {"momentum": 900_000},
    {"optimiser": "nesterov", "momentum": 900_000},
    {"optimiser": "adam"},
    {"proximal": 100_000, "weight_decay": 100_000, "clip_norm": 1_000_000},
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked) or "plain")
def test_every_rule_moves_steps_by_what_it_moves_floats_by_on_average(asked: dict[str, object]) -> None:
    """The scale is in the learning rate: steps of different channels move their weights alike."""
    grid, params, gradient = scene()
    usual = {"epochs": 1, "batch_size": 8, "learning_rate": 1_000, "momentum": 0, "proximal": 0}
    training = Training(**(usual | asked))  # type: ignore[arg-type]
    begun = grid.values(grid.nearest(params * np.float32(0.2)))  # far from its end: only the step itself is rounded
    wanted = begun.copy()
    optimiser_of(training, params).step(wanted, gradient)
    found = []
    for seed in range(100):
        on_grid = OnGrid(grid, optimiser_of(training, params), StochasticRounding(bytes([seed]) * 32))
        weights = on_grid.start(begun)
        on_grid.step(weights, parts(grid, gradient))
        found.append(grid.values(weights) - begun)
    change, mean = wanted - begun, np.mean(found, axis=0)
    for name, scale in (("before", 0.0), ("behind", 0.0), ("w", 1e-2)):
        gap = np.abs(grid.layout.views(change)[name] - grid.layout.views(mean)[name])
        assert gap.max() <= 6 * 0.5 * scale / np.sqrt(100) + 1e-7
    slope = np.vdot(change[3:-3], mean[3:-3]) / np.vdot(change[3:-3], change[3:-3])
    assert slope == pytest.approx(1, abs=0.05)


def test_the_same_key_comes_to_the_same_bits_and_another_to_others() -> None:
    (grid, one), (_, again), (_, other) = trained(5), trained(5), trained(5, key=b"k" * 32)
    assert grid.values(one).tobytes() == grid.values(again).tobytes()
    assert one.steps.tobytes() != other.steps.tobytes()


def test_no_two_blocks_and_no_two_steps_share_their_bits() -> None:
    grid = made_grid((300, 200), 1, np.ones(200, np.float32))
    params = np.full(grid.layout.size, 0.5, np.float32)
    on_grid = OnGrid(grid, Sgd(params, learning_rate=1.0), StochasticRounding(bytes(32)))
    weights = on_grid.start(params)
    held = [block.held for block in grid.tensors[1].blocks[:2]]
    one, other = (weights.steps[part].copy() for part in held)
    begun = weights.steps.copy()
    on_grid.step(weights, parts(grid, np.full_like(params, -0.5)))
    moved = weights.steps - begun
    pairs = [(one, other), (moved[held[0]], moved[held[1]]), (moved[held[0]], one)]
    for left, right in ((first[: len(other)], second[: len(other)]) for first, second in pairs):
        assert set(np.unique(left)) == {0, 1}
        assert 0.45 < np.mean(left == right) < 0.55


def test_a_gradient_that_is_too_large_ends_at_the_end_of_the_grid_and_one_that_is_none_is_told() -> None:
    grid, params, _ = scene()
    on_grid = OnGrid(grid, Sgd(params, learning_rate=1.0), StochasticRounding(bytes(32)))
    weights = on_grid.start(params)
    on_grid.step(weights, parts(grid, np.full_like(params, 3e38)))
    assert (weights.steps == -127).all()
    assert on_grid.finite
    on_grid.step(weights, parts(grid, np.full_like(params, np.nan)))
    assert not on_grid.finite
