"""Flower-style clients, unchanged: they train in an Accord fleet, and what is wrong with one is named."""

from typing import Any

import numpy as np
import pytest

from accord.errors import UsageError
from simulation import simulate

TRUTH = np.array([2.0, -1.0, 0.5])


class Client:
    """Linear regression by gradient descent, as a Flower tutorial would write it."""

    def __init__(self, seed: int, rows: int) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(rows, 3))
        self.y = self.x @ TRUTH + 1.0

    def get_parameters(self, config: dict[str, Any]) -> list[np.ndarray]:
        return [np.zeros(3), np.zeros(())]

    def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[list[np.ndarray], int, dict[str, Any]]:
        weights, bias = (p.astype(float) for p in parameters)
        for _ in range(5):
            error = self.x @ weights + bias - self.y
            weights = weights - 0.1 * self.x.T @ error / len(error)
            bias = bias - 0.1 * error.mean()
        return [weights, bias], len(self.y), {}

    def evaluate(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
        error = self.x @ parameters[0] + parameters[1] - self.y
        return float((error**2).mean()), len(error), {"accuracy": float((np.abs(error) < 0.1).mean())}


class Wide(Client):
    """The same beside a matrix that is large enough to be sent in a basis."""

    def get_parameters(self, config: dict[str, Any]) -> list[np.ndarray]:
        return [*super().get_parameters(config), np.zeros((64, 64))]

    def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[list[np.ndarray], int, dict[str, Any]]:
        found, rows, metrics = super().fit(parameters[:2], config)
        target = np.random.default_rng(rows).normal(size=(64, 64))
        return [*found, parameters[2] + 0.3 * (target - parameters[2])], rows, metrics

    def evaluate(self, parameters: list[np.ndarray], config: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
        return super().evaluate(parameters[:2], config)


def test_clients_train_masked_and_not_to_the_same_model() -> None:
    clients = [Client(seed, rows) for seed, rows in enumerate([10, 50, 200, 30])]
    masked = simulate(clients=clients, rounds=15)
    plain = simulate(clients=clients, rounds=15, secure_aggregation=False)
    assert masked.model_digest == plain.model_digest
    assert masked.final.loss is not None
    assert masked.final.loss < 0.01
    assert masked.final.accuracy == 1.0
    assert [d.train_rows for d in masked.devices] == [10, 50, 200, 30]
    assert masked.rounds[-1].participants == 4


def test_what_is_asked_for_of_updates_and_releases_holds_for_clients_too() -> None:
    def digest(**options: object) -> str:
        clients = [Wide(seed, rows) for seed, rows in enumerate([10, 50, 200, 30])]
        return simulate(clients=clients, rounds=4, secure_aggregation=False, **options).model_digest

    usual = digest()
    assert usual == digest(feedback="auto", release_bits=8)
    assert usual != digest(release_bits=3)
    assert usual != digest(feedback="off")


def test_a_client_that_fails_is_left_out_and_the_round_goes_on() -> None:
    class Broken(Client):
        def fit(self, parameters: list[np.ndarray], config: dict[str, Any]) -> Any:
            raise MemoryError("too small")

    history = simulate(clients=[Client(0, 20), Client(1, 20), Client(2, 20), Broken(3, 20)], rounds=2)
    assert [r.participants for r in history.rounds] == [3, 3]
    assert history.devices[3].participations == 1  # the last evaluation needs no fit


def test_what_can_not_be_a_fleet_is_named() -> None:
    with pytest.raises(UsageError, match="at least 3"):
        simulate(clients=[Client(0, 5), Client(1, 5)])
    with pytest.raises(UsageError, match="either data or clients"):
        simulate()

    class Whole(Client):
        def get_parameters(self, config: dict[str, Any]) -> list[np.ndarray]:
            return [np.zeros(3, np.int64)]

    with pytest.raises(UsageError, match="not floats"):
        simulate(clients=[Whole(i, 5) for i in range(3)])
