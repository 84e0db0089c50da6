"""`accord simulate` as people run it: bad words, bad places, an interrupt, a narrow terminal, a reader that leaves."""

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from accord import cli
from simulation.columns import columns, fitting
from simulation.history import Abort, RoundRow
from simulation.live import LiveTable
from simulation.metrics import Evaluation

QUICK = ["simulate", "--data", "digits", "--model", "linear", "--rounds", "2"]
ENDLESS = [sys.executable, "-m", "accord", *QUICK, "--rounds", "100000"]


def _row(number: int, aborted: tuple[Abort, ...] = ()) -> RoundRow:
    return RoundRow(
        round=number, attempt=1 + len(aborted), evaluation=Evaluation(rows=9, loss=1.0, accuracy=0.5),
        participants=100, dropouts=0, payload_bytes_up=1e6, payload_bytes_down=1e6, control_bytes_up=1e3,
        control_bytes_down=1e3, seconds=12.0, aborted=aborted,
    )  # fmt: skip


@pytest.mark.parametrize("place", ["missing/x.html", "."])
def test_a_report_that_can_not_be_written_is_refused_before_the_work(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*QUICK, "--report", str(tmp_path / place)]) == 1
    found = capsys.readouterr()
    assert "round 1" not in found.out
    assert "accord: --report" in found.err


def test_a_report_shows_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "r.html"
    assert cli.main([*QUICK, "--report", str(report), "--secure-aggregation", "off"]) == 0
    page = report.read_text()
    assert "classification" in page
    assert ">off<" in page
    assert str(report) in capsys.readouterr().out
    assert report.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("more", "says"),
    [(["--rounds", "many"], "--rounds"), (["--task", "poetry"], "--task"), (["--nonsense"], "nonsense")],
)
def test_words_that_can_not_be_read_are_json_too(
    more: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*QUICK, *more, "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert says in error
    assert "--help` lists the options" in error
    assert cli.main([*QUICK, *more]) == 2
    assert capsys.readouterr().err.startswith("accord: ")


def test_the_json_is_what_is_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"rounds", "final", "devices", "model_digest"} <= set(found)
    assert set(found["final"]) == {"accuracy", "auroc", "auprc", "mae", "r2", "loss"}
    assert found["final"]["mae"] is None
    kinds = {"round": int, "accuracy": float, "loss": float, "participants": int, "dropouts": int}
    for row in found["rounds"]:
        assert {name: type(row[name]) for name in kinds} == kinds
        for way in ("up", "down"):
            whole, payload, control = (
                row[name] for name in (f"bytes_{way}_per_device", f"payload_bytes_{way}", f"control_bytes_{way}")
            )
            assert whole == pytest.approx(payload + control, abs=0.2)


def test_ctrl_c_stops_with_one_line() -> None:
    with subprocess.Popen(ENDLESS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("round 1 "):
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == "accord: stopped\n"
        assert process.wait(60) == 130


def test_a_reader_that_leaves_ends_the_run_in_silence() -> None:
    with subprocess.Popen(ENDLESS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) != 0


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_the_table_fits_the_terminal(width: int) -> None:
    rows = [_row(1), _row(2, (Abort(attempt=1, reason="TooFewVectors"),))]
    console = Console(width=width, record=True, force_terminal=True, force_interactive=False, file=io.StringIO())
    with LiveTable("a fleet", "classification", console) as table:
        for row in rows:
            table.add(row)
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    assert any("accuracy" in line and "round" in line for line in lines), "headings stay whole"


def test_columns_that_say_nothing_are_left_out() -> None:
    shape = columns("classification")
    assert "attempt" not in [c.heading for c in fitting(shape, [_row(1)], 200)]
    aborted = _row(2, (Abort(attempt=1, reason="TooFewVectors"),))
    assert fitting(shape, [_row(1), aborted], 200) == list(shape)
    assert [c.heading for c in fitting(shape, [aborted], 10)] == ["round", "accuracy", "in", "dropped"]
