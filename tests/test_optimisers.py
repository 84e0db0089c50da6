"""The optimisers against the formula in float64."""

import numpy as np
import pytest

from accord.errors import UsageError
from accord.optimisers import Sgd


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("proximal", [0.0, 0.1])
def test_steps_follow_the_formula(momentum: float, proximal: float) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(50).astype(np.float32)
    params, exact, velocity = start.copy(), start.astype(np.float64), np.zeros(50)
    optimiser = Sgd(start, learning_rate=0.05, momentum=momentum, proximal=proximal)
    for _ in range(20):
        gradient = rng.standard_normal(50).astype(np.float32)
        before = gradient.copy()
        optimiser.step(params, gradient)
        assert np.array_equal(gradient, before), "the gradient must be left alone"
        velocity = momentum * velocity + gradient + proximal * (exact - start)
        exact = exact - 0.05 * velocity
    assert np.abs(params - exact).max() < 1e-5


def test_the_anchor_is_a_copy() -> None:
    params = np.ones(3, np.float32)
    optimiser = Sgd(params, learning_rate=0.1, proximal=1.0)
    optimiser.step(params, np.ones(3, np.float32))
    optimiser.step(params, np.zeros(3, np.float32))
    assert np.allclose(params, 0.91)


@pytest.mark.parametrize("rates", [(-0.1, 0.0, 0.0), (0.1, 1.0, 0.0), (0.1, 0.0, -1.0), (float("nan"), 0.0, 0.0)])
def test_impossible_rates(rates: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError):
        Sgd(np.zeros(3, np.float32), learning_rate=rates[0], momentum=rates[1], proximal=rates[2])
