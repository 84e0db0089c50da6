"""A fleet whose devices hold int8 weights: it learns as one with float weights does, also by steps of less than one."""

from pathlib import Path
from typing import Any

import pytest

from accord.cli import main
from simulation import simulate
from simulation.history import History

QUICK: dict[str, Any] = {"model": "mlp:32", "devices": 6, "rounds": 8, "lr": 0.2}


def learned(**options: Any) -> History:
    return simulate("digits", **(QUICK | options))


def test_a_fleet_with_int8_weights_learns_what_one_with_floats_learns() -> None:
    floats, steps = learned(), learned(tier="int8", partition="dirichlet:0.5")
    assert floats.final.accuracy is not None
    assert steps.final.accuracy is not None
    assert steps.final.accuracy > 0.9
    assert steps.final.accuracy > floats.final.accuracy - 0.02
    first = steps.rounds[0].evaluation.accuracy
    assert first is not None
    assert steps.final.accuracy > first + 0.05


def test_progress_of_less_than_a_step_is_not_taken_back_in_the_next_round() -> None:
    """One round moves a weight by a fraction of its step: were the model rounded to the nearest, most would be lost."""
    slow = {"lr": 0.005, "local_epochs": 1, "rounds": 16}
    floats, steps = learned(**slow), learned(tier="int8", **slow)
    begun = steps.rounds[0].evaluation.loss
    assert begun is not None
    assert steps.final.loss < begun - 0.3
    assert steps.final.loss < floats.final.loss + 0.03


def test_masks_and_dropouts_change_nothing() -> None:
    on, off = (learned(tier="int8", rounds=3, dropout=0.3, secure_aggregation=masked) for masked in (True, False))
    assert on.model_digest == off.model_digest


def test_a_bundle_of_the_tier_trains_in_a_fleet_of_two_runtimes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    words = ["mlp:32", "--input-shape", "64", "--outputs", "10", "--tier", "int8", "--tflite", "--out", str(bundle)]
    assert main(["quantize", *words]) == 0
    told = capsys.readouterr().out
    assert "tier                int8: trains" in told
    assert "momentum" not in told
    mixed = learned(model=str(bundle), runtimes="onnx,litert")
    assert mixed.final.accuracy is not None
    assert mixed.final.accuracy > 0.9
