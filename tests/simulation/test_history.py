"""A history is valid at birth, prints the JSON that users read, and can be watched."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from accord.errors import CodecError, UsageError
from simulation.baselines import Curve, Point
from simulation.columns import aborts, columns, kilobytes, shown
from simulation.history import Abort, DeviceRow, History, RoundRow
from simulation.live import LiveTable, line
from simulation.metrics import Evaluation

DIGEST = "ab" * 32


def row(number: int = 1, **changes: Any) -> RoundRow:
    values: dict[str, Any] = {
        "round": number,
        "evaluation": Evaluation(rows=100, accuracy=0.8125, loss=0.5),
        "participants": 10, "dropouts": 2, "recovered": 1,
        "payload_bytes_up": 2000, "payload_bytes_down": 4000.25, "control_bytes_up": 500, "control_bytes_down": 600,
        "seconds": 1.25,
    }  # fmt: skip
    return RoundRow(**{**values, **changes})


def history(**changes: Any) -> History:
    values: dict[str, Any] = {
        "kind": "classification",
        "rounds": (row(1), row(2)),
        "final": Evaluation(rows=100, accuracy=0.8, loss=0.6, auroc=0.9),
        "devices": (DeviceRow(device="dev-000", train_rows=5, test_rows=2),),
        "model_digest": DIGEST,
    }
    return History(**{**values, **changes})


def test_json_has_the_shape_that_is_documented() -> None:
    got = json.loads(json.dumps(history().to_json(), allow_nan=False))
    assert got["rounds"][0] == {
        "round": 1, "accuracy": 0.8125, "loss": 0.5, "participants": 10, "dropouts": 2, "recovered": 1,
        "bytes_up_per_device": 2500, "bytes_down_per_device": 4600.2, "payload_bytes_up": 2000,
        "payload_bytes_down": 4000.2, "control_bytes_up": 500, "control_bytes_down": 600, "seconds": 1.25,
        "bytes_at_least": False, "versions_advanced": None, "way_down": "",
        "attempt": 1, "cohorts": 1, "saturated": 0, "scale_doubled": False, "aborted": [],
    }  # fmt: skip
    assert got["final"] == {"accuracy": 0.8, "auroc": 0.9, "auprc": None, "mae": None, "r2": None, "loss": 0.6}
    assert got["devices"]["dev-000"]["train_rows"] == 5
    assert got["devices"]["dev-000"]["origin"] == "dev-000"
    assert got["model_digest"] == DIGEST
    assert "fedavg" not in got
    assert got["payload_bytes_down_per_version"] is None


def test_bytes_down_are_counted_for_each_version_that_devices_came_forward_by() -> None:
    rounds = (row(1, versions_advanced=1.0), row(2, versions_advanced=4.0), row(3, versions_advanced=0.0))
    found = history(rounds=rounds)
    assert found.bytes_down_per_version == 3 * 4000.25 / 5
    assert found.to_json()["payload_bytes_down_per_version"] == 2400.2
    assert found.to_json()["rounds"][1]["versions_advanced"] == 4.0


@pytest.mark.parametrize(
    ("kind", "has", "has_not"),
    [("classification", "accuracy", "auroc"), ("binary", "auroc", "mae"), ("regression", "mae", "accuracy")],
)
def test_each_task_has_its_own_headline(kind: Any, has: str, has_not: str) -> None:
    got = history(kind=kind).to_json()["rounds"][0]
    assert has in got
    assert has_not not in got
    assert history(kind=kind).headline == has
    assert history().values("accuracy") == [0.8125, 0.8125]
    assert history().values("mae") == [None, None]


def test_baselines_are_in_the_json_if_they_were_run() -> None:
    curve = Curve(name="x", points=(Point(round=1, evaluation=Evaluation(rows=5, accuracy=0.5), seconds=1.0),))
    got = history(fedavg=curve, centralized=curve).to_json()
    assert got["fedavg"]["accuracy"] == got["centralized"]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"round": 0}, "counted from 1"),
        ({"attempt": 0}, "counted from 1"),
        ({"dropouts": -1, "recovered": 0}, "0 or more"),
        ({"seconds": float("nan")}, "0 or more"),
        ({"control_bytes_up": float("inf")}, "0 or more"),
        ({"recovered": 3}, "can't be recovered"),
        ({"aborted": (Abort(attempt=2, reason="TooFew"),)}, "not in order up to 1"),
        ({"attempt": 3, "aborted": (Abort(attempt=2, reason="A"), Abort(attempt=1, reason="B"))}, "not in order"),
    ],
)
def test_a_round_is_valid_at_birth(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        row(**changes)


def test_a_history_is_valid_at_birth() -> None:
    device = DeviceRow(device="a", train_rows=1, test_rows=1)
    for changes, says in (
        ({"rounds": (row(2), row(1))}, "in order"),
        ({"rounds": (row(1), row(1))}, "in order"),
        ({"devices": (device, device)}, "each device once"),
        ({"model_digest": "XYZ"}, "no digest"),
        ({"kind": "ranking"}, "unknown"),
    ):
        with pytest.raises(UsageError, match=says):
            history(**changes)
    with pytest.raises(UsageError, match="name the reason"):
        Abort(attempt=1, reason="too few")
    with pytest.raises(UsageError, match="negative"):
        DeviceRow(device="a", train_rows=-1, test_rows=0)
    with pytest.raises(CodecError):
        DeviceRow(device="A b", train_rows=1, test_rows=0)


def test_a_round_may_end_without_a_sum() -> None:
    lost = row(attempt=2, aborted=(Abort(attempt=1, reason="TooFew"), Abort(attempt=2, reason="Deadline")))
    assert not lost.gave_sum
    assert aborts(lost) == "1: TooFew, 2: Deadline"
    assert row(attempt=2, aborted=(Abort(attempt=1, reason="TooFew"),)).gave_sum


def test_cells_are_for_people() -> None:
    assert [c.cell(row()) for c in columns("classification")] == [
        "1", "1", "81.2 %", "0.500", "10", "2", "1", "2.5", "4.6", "0.5", "0.6", "1.2", "",
    ]  # fmt: skip
    assert shown("mae", 1234.5678) == "1235"
    assert shown("mae", None) == "–"  # noqa: RUF001 - what the table shows
    assert shown("r2", -0.5) == "-0.500"
    assert kilobytes(1_234_567) == "1,234.6"
    assert kilobytes(1_234_567, at_least=True) == "≥ 1,234.6"


def test_a_pipe_gets_one_line_a_round() -> None:
    out = io.StringIO()
    with LiveTable("digits [bold]x[/]", "classification", Console(file=out, width=40)) as live:
        live.caption("FedAvg 80.0 %")
        live.add(row(1))
        live.add(row(2, attempt=2, aborted=(Abort(attempt=1, reason="TooFewSurvivors"),)))
    assert line(row(1), "classification") == (
        "round 1  accuracy 81.2 %  loss 0.500  10 in, 2 dropped, 1 recovered  2.5 kB up, 4.6 kB down per device  1.2 s"
    )
    assert out.getvalue().splitlines() == [
        "digits [bold]x[/]",
        "FedAvg 80.0 %",
        line(row(1), "classification"),
        line(row(1), "classification").replace("round 1", "round 2 (attempt 2)") + "  aborted 1: TooFewSurvivors",
    ]


def test_cut_values_are_told() -> None:
    cut = row(saturated=0.0123456789, doubled=True)
    assert cut.to_json("classification")["saturated"] == 0.012346
    assert cut.to_json("classification")["scale_doubled"] is True
    assert line(cut, "classification").endswith("  1.2 % of values cut: scales doubled")
    assert "cut" not in line(row(saturated=0.0005), "classification")
    with pytest.raises(UsageError, match="0 or more"):
        row(saturated=-0.1)


def test_a_terminal_gets_a_table_that_stands_in_the_end() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, height=12, force_terminal=True, color_system=None)
    with LiveTable("digits", "regression", console) as live:
        for number in range(1, 21):
            live.add(row(number))
        live.say("dev-003 was killed")
        live.caption("FedAvg 80.0 %")
    drawn = out.getvalue()
    assert "dev-003 was killed" in drawn
    final = drawn[drawn.rindex("digits") :]
    assert "MAE" in final
    assert all(f"│ {number:5d} │" in final for number in range(1, 21))
    assert "FedAvg 80.0 %" in final
