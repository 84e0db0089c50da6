"""Masks change nothing, for every task; and the summed tails say of each round's model what all rows together say."""

from typing import Any

import pytest

from simulation.history import HEADLINES, History
from simulation.in_process import simulate
from simulation.task import KINDS
from tests.simulation.small_data import small

QUICK: dict[str, Any] = {"rounds": 3, "model": "mlp:8", "devices_per_round": 9, "local_epochs": 1, "lr": 0.1}


def told(history: History) -> list[tuple[Any, ...]]:
    """Return what a round is, but for what masks cost, and what only they can recover."""
    return [
        (r.round, r.attempt, r.evaluation, r.participants, r.dropouts, r.cohorts, r.saturated, r.doubled)
        for r in history.rounds
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cohorts": 3, "dropout": 0.25, "rounds": 4, "update": "dense:16"},
        {"devices_per_round": 6, "dropout": 0.25},
        {"model": "mlp:32", "update": "low-rank:2:4", "dropout": 0.25, "rounds": 4},
        {"model": "mlp:32", "update": "block-score:0.2:8", "dropout": 0.25, "rounds": 6},
    ],
    ids=["plain", "cohorts and dropout", "some devices and dropout", "low rank", "blocks"],
)
def test_masks_on_and_off_give_the_identical_model(kind: str, options: dict[str, Any]) -> None:
    digests = set()
    for seed in (1, 2):
        on, off = (
            simulate(small(kind, seed), seed=seed, secure_aggregation=masked, **(QUICK | options))
            for masked in (True, False)
        )
        assert on.model_digest == off.model_digest
        assert on.final == off.final
        assert told(on) == told(off)
        digests.add(on.model_digest)
    assert len(digests) == 2


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_round_tells_what_all_test_rows_together_tell(kind: str, masked: bool) -> None:
    """A run of three rounds is the start of one of five, so its final figures are those of the fifth's third round."""
    long = simulate(small(kind), secure_aggregation=masked, **(QUICK | {"rounds": 5}))
    for rounds in (1, 3, 5):
        final = simulate(small(kind), secure_aggregation=masked, **(QUICK | {"rounds": rounds})).final
        summed = long.rounds[rounds - 1].evaluation
        assert summed.rows == final.rows == 270
        for metric in ("accuracy", "auroc", "auprc", "r2", "loss"):
            ours, theirs = getattr(summed, metric), getattr(final, metric)
            if ours is not None and not (kind == "regression" and metric == "loss"):  # that one is in scaled units
                assert ours == pytest.approx(theirs, abs=0.01), metric
        if kind == "regression":
            assert summed.mae == pytest.approx(final.mae, rel=1e-4)
            assert summed.loss == pytest.approx(final.loss, rel=1e-4)
        assert getattr(summed, HEADLINES[long.kind]) is not None


def test_a_device_can_stop_evaluating_no_round() -> None:
    """With dropouts the tails are those of the devices that are in the sum, and still within a few rows of all."""
    history = simulate(small("classification"), dropout=0.3, **(QUICK | {"rounds": 6}))
    rows = [r.evaluation.rows for r in history.rounds]
    assert all(90 <= count <= 270 and count % 30 == 0 for count in rows)
    assert rows[-1] == 270, "the last evaluation asks everybody, and nobody loses power in it"
