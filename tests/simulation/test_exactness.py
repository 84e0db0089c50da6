"""Masks change nothing, for every task; and the summed tails say of each round's model what all rows together say."""

from typing import Any

import pytest

from accord.errors import UsageError
from accord.plan import OPEN, UPDATES
from aggregator.update_choice import DEFAULT
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


WAYS = {
    "dense": ("dense:16", "dense:8", "dense:4"),
    "block-score": ("block-score:0.2:16", "block-score:0.5:4"),
    "low-rank": (DEFAULT, "low-rank:2:8", "low-rank:1:16"),
    "topk": ("topk:0.1:8", "topk:0.1:4", "topk:0.1:1"),
    "ternary": ("ternary:0.1",),
}
WIDE: dict[str, Any] = QUICK | {"model": "mlp:64,64", "rounds": 6}
"""A model whose matrices have a basis of eight vectors, and rounds enough that supports have followed."""


def test_the_table_of_ways_has_all_kinds() -> None:
    assert set(WAYS) == set(UPDATES)


@pytest.mark.parametrize("update", [way for kind in UPDATES if kind not in OPEN for way in WAYS[kind]])
def test_every_way_to_send_a_change_gives_the_same_model_without_masks(update: str) -> None:
    on, off = (
        simulate(small("classification"), seed=3, update=update, secure_aggregation=masked, **WIDE)
        for masked in (True, False)
    )
    assert on.model_digest == off.model_digest
    assert told(on) == told(off)
    assert [row.payload_bytes_up for row in on.rounds] == pytest.approx(
        [row.payload_bytes_up for row in off.rounds], rel=0.2
    ), "as many values, in nearly as many bytes"


@pytest.mark.parametrize("update", [way for kind in OPEN for way in WAYS[kind]])
def test_the_compressor_of_open_mode_changes_no_model(update: str) -> None:
    zlib, zstd = (
        simulate(small("classification"), seed=3, update=update + ending, secure_aggregation=False, **WIDE)
        for ending in ("", ":zstd")
    )
    assert zlib.model_digest == zstd.model_digest
    assert told(zlib) == told(zstd)
    with pytest.raises(UsageError, match="--secure-aggregation off"):
        simulate(small("classification"), update=update, **WIDE)


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
