"""`simulate` as its users see it: masks change nothing, units are the data's own, odd devices are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from accord.cli import main
from accord.errors import UsageError
from accord.link.memory import Faults
from simulation import datasets
from simulation.in_process import simulate

QUICK = {"rounds": 4, "devices": 6, "model": "mlp:16", "partition": "dirichlet:0.5"}


@pytest.mark.parametrize(
    "options", [{}, {"dropout": 0.4}, {"devices": 9, "cohorts": 3}, {"dropout": 0.2, "devices_per_round": 5}]
)
def test_masks_on_and_off_give_the_identical_model(options: dict[str, object]) -> None:
    on = simulate("digits", secure_aggregation=True, **(QUICK | options))
    off = simulate("digits", secure_aggregation=False, **(QUICK | options))
    assert on.model_digest == off.model_digest
    assert on.final == off.final
    assert [r.participants for r in on.rounds] == [r.participants for r in off.rounds]
    other = simulate("digits", seed=1, **(QUICK | options))
    assert other.model_digest != on.model_digest


def test_the_last_round_is_the_pooled_evaluation_within_a_hundredth() -> None:
    for data, metric in (("digits", "accuracy"), ("breast-cancer", "accuracy"), ("breast-cancer", "auroc")):
        history = simulate(data, rounds=3, devices=5, model="mlp:16")
        assert getattr(history.rounds[-1].evaluation, metric) == pytest.approx(getattr(history.final, metric), abs=0.01)
        assert history.rounds[-1].evaluation.loss == pytest.approx(history.final.loss, abs=0.01)


def test_digits_reach_what_plain_fedavg_reaches() -> None:
    options = {"partition": "dirichlet:0.3", "rounds": 30, "model": "mlp:32", "local_epochs": 5, "batch_size": 16}
    history = simulate("digits", secure_aggregation=False, **options)
    assert history.final.accuracy is not None
    assert history.final.accuracy > 0.93


def fleet_file(folder: Path, **changes: object) -> Path:
    """Five devices of unequal size whose rows follow one line in large units."""
    rng = np.random.default_rng(5)
    counts = {"big": 300, "small": 10, "one row": 1, "other": 50}
    owners = np.repeat(list(counts), list(counts.values()))
    x = rng.normal(1e4, 5e3, (len(owners), 3))
    y = x @ [3.0, -2.0, 0.5] + 7e4 + rng.normal(0, 100, len(owners))
    test_owners = np.array(["big"] * 40 + ["test only"] * 20)
    x_test = rng.normal(1e4, 5e3, (60, 3))
    y_test = x_test @ [3.0, -2.0, 0.5] + 7e4
    arrays = {"x_train": x, "y_train": y, "c_train": owners, "x_test": x_test, "y_test": y_test, "c_test": test_owners}
    path = folder / "fleet.npz"
    np.savez(path, **(arrays | changes))
    return path


def test_regression_is_in_the_datas_own_units_and_odd_devices_are_named(tmp_path: Path) -> None:
    path = fleet_file(tmp_path)
    history = simulate(str(path), model="linear", rounds=15, local_epochs=3, lr=0.05)
    assert history.final.r2 is not None
    assert history.final.mae is not None
    assert history.final.r2 > 0.99
    assert history.final.mae < 100
    assert history.rounds[-1].evaluation.mae == pytest.approx(history.final.mae, rel=0.01)
    assert history.rounds[-1].evaluation.r2 == pytest.approx(history.final.r2, abs=0.01)
    devices = {d.origin: d for d in history.devices}
    assert devices["test only"].notes == ("test rows only",)
    assert devices["one row"].train_rows == 1
    assert devices["big"].participations == 17 + 1
    assert any("test rows only" in note for note in history.notes)


def test_target_transform_learns_what_spans_decades(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-2, 2, (400, 2))
    y = np.exp(2 * x[:, 0] + x[:, 1] + rng.normal(0, 0.1, 400))
    path = fleet_file(
        tmp_path,
        x_train=x, y_train=y, c_train=np.arange(400) % 4, x_test=x[:50], y_test=y[:50], c_test=np.arange(50) % 4,
    )  # fmt: skip
    plain = simulate(str(path), model="linear", rounds=10, lr=0.1)
    log = simulate(str(path), model="linear", rounds=10, lr=0.1, target_transform="log")
    assert log.final.mae is not None
    assert plain.final.mae is not None
    assert log.final.mae < plain.final.mae / 5
    assert log.rounds[-1].evaluation.mae == pytest.approx(log.final.mae, rel=0.02)
    with pytest.raises(UsageError, match="regression"):
        simulate("digits", target_transform="log")


def test_rows_that_are_not_numbers_are_left_out_by_name(tmp_path: Path) -> None:
    path = fleet_file(tmp_path)
    arrays = dict(np.load(path))
    arrays["x_train"][3, 1] = np.nan
    np.savez(path, **arrays)
    history = simulate(str(path), model="linear", rounds=1)
    assert {d.origin: d.dropped_rows for d in history.devices}["big"] == 1


@pytest.mark.parametrize(
    "faults", [{"duplicate": 0.2}, {"reorder": 0.05}, {"delay": 0.5}, {"drop": 0.02}], ids=lambda f: next(iter(f))
)
def test_a_network_that_misbehaves_gives_rounds_or_named_aborts(faults: dict[str, float]) -> None:
    history = simulate("digits", faults=Faults(**faults), **(QUICK | {"devices": 8}))
    for row in history.rounds:
        assert row.participants >= 3 or not row.gave_sum
        assert all(a.reason.startswith("Too") for a in row.aborted)
    assert sum(row.gave_sum for row in history.rounds) >= 2


def test_the_command_line_prints_one_json_object(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    words = ["--data", "breast-cancer", "--rounds", "2", "--devices", "3", "--json", "--report", str(report)]
    assert main(["simulate", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"rounds", "final", "devices", "model_digest"} <= set(found)
    assert set(found["final"]) == {"accuracy", "auroc", "auprc", "mae", "r2", "loss"}
    assert found["final"]["mae"] is None
    row = found["rounds"][-1]
    assert row["bytes_up_per_device"] == row["payload_bytes_up"] + row["control_bytes_up"]
    assert row["participants"] == 3
    assert "<svg" in report.read_text()


@pytest.mark.parametrize(
    "words",
    [["--devices", "2"], ["--lr", "0"], ["--dropout", "1"], ["--partition", "some"], ["--model", "transformer"],
     ["--cohorts", "5"], ["--rounds", "0"]],
)  # fmt: skip
def test_bad_options_are_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--data", "digits", *words]) == 1
    assert words[1] in capsys.readouterr().err


@pytest.mark.parametrize("drop", [0.0, 0.03])
def test_a_model_of_many_pieces_goes_both_ways(drop: float) -> None:
    faults = Faults(drop=drop) if drop else None
    history = simulate("digits", model="mlp:600", rounds=2, devices=4, local_epochs=1, update="dense:16", faults=faults)
    assert sum(row.gave_sum for row in history.rounds) >= 1
    row = next(row for row in history.rounds if row.gave_sum)
    assert row.payload_bytes_up > 40_000 * 2 * (1 if drop == 0 else 0.5)
    down = history.rounds[-1].payload_bytes_down
    ways = {(row.gave_sum, row.way_down) for row in history.rounds}
    assert ways <= {(True, "blocks"), (False, "")}, "pixels that are always 0 move no weight"
    if drop == 0:
        assert [row.versions_advanced for row in history.rounds] == [1, 1], "the scaling, then what was trained"
    assert 0 < down < (64 * 600 + 600 + 600 * 10 + 10) * 1.1, "a byte for each parameter, and not four"
    assert history.to_json()["payload_bytes_down"] >= down


def test_products_take_one_thread_while_it_runs_and_as_many_as_before_behind_it() -> None:
    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    data = datasets.load("breast-cancer")  # with what it is read by loaded, too
    with threadpool_limits(limits=2, user_api="blas"):
        before, seen = threads(), []
        simulate(data, told=lambda _row: seen.append(threads()), **(QUICK | {"rounds": 1}))
        assert seen == [{1}]
        assert threads() == before != {1}
