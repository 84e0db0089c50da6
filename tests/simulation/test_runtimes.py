"""Devices with different model runtimes train one model: one job, one update format, the same quality."""

import dataclasses
from typing import Any

import pytest

from accord.errors import UsageError
from simulation.datasets import Dataset, load
from simulation.history import History
from simulation.in_process import simulate

QUICK: dict[str, Any] = {"devices": 6, "devices_per_round": 6, "rounds": 8, "lr": 0.1, "momentum": 0.9}


def digits(model: str) -> Dataset:
    """Digits as rows, as the images that a convolution takes, or as sequences of lines of pixels."""
    data = load("digits")
    shape = {"cnn:small": (-1, 1, 8, 8), "gru:16": (-1, 8, 8)}.get(model)
    if shape is None:
        return data
    images = (data.x_train.reshape(shape), data.x_test.reshape(shape))
    return dataclasses.replace(data, x_train=images[0], x_test=images[1])


def trained(runtimes: str, **options: Any) -> History:
    return simulate(digits(options["model"]), runtimes=runtimes, **(QUICK | options))


@pytest.mark.parametrize("options", [{"model": "cnn:small"}, {"model": "mlp:32", "partition": "dirichlet:0.5"}])
def test_a_mixed_fleet_learns_what_either_alone_learns(options: dict[str, Any]) -> None:
    options |= {"update": "dense:16", "release_bits": 24}  # coarse ones round the last bits away
    found = {runtimes: trained(runtimes, **options) for runtimes in ("onnx", "litert", "onnx,litert")}
    digests = {history.model_digest for history in found.values()}
    assert len(digests) == 3, "each of them computes in its own way, to the last bit"
    scores = [history.final.accuracy for history in found.values()]
    assert all(score is not None and score > 0.9 for score in scores), scores
    assert max(scores) - min(scores) < 0.025, scores
    mixed = found["onnx,litert"]
    assert "devices train in onnx, litert by turns" in mixed.notes
    assert all(row.participants == 6 for row in mixed.rounds)


def test_after_one_round_they_differ_by_rounding_only() -> None:
    """Later rounds may drift apart, as two right runtimes do; the first shows that they compute the same thing."""
    one, other = (trained(name, model="cnn:small", rounds=1, local_epochs=1) for name in ("onnx", "litert"))
    assert one.final.loss == pytest.approx(other.final.loss, rel=1e-3)
    assert one.final.rows == other.final.rows


def test_masks_change_nothing_in_a_mixed_fleet() -> None:
    on, off = (
        trained("onnx,litert,reference", model="mlp:16", rounds=3, secure_aggregation=masked)
        for masked in (True, False)
    )
    assert on.model_digest == off.model_digest


def test_a_runtime_that_is_unknown_or_can_not_train_the_model_is_named() -> None:
    with pytest.raises(UsageError, match="'torch' is unknown: use some of auto, reference, onnx"):
        trained("onnx,torch", model="linear")
    with pytest.raises(UsageError, match="linear and mlp"):
        trained("onnx,reference", model="cnn:small")


def test_a_fleet_trains_a_recurrent_net_on_sequences() -> None:
    history = trained("auto", model="gru:16", optimiser="adam", lr=0.02, momentum=0.0, rounds=5)
    assert history.final.accuracy is not None
    assert history.final.accuracy > 0.6


def test_rows_that_are_no_sequences_say_what_would_be() -> None:
    with pytest.raises(UsageError, match=r"gru:8 takes sequences, not rows of shape \(64,\)"):
        simulate("digits", model="gru:8")
