"""`accord round`: what a round cost is told with its payload and its control bytes apart."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from aggregator import device_cli, round_cli
from aggregator.attendance import apart
from aggregator.store import Store, database_of
from aggregator.tables import devices, jobs, rounds


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = Store(database_of(tmp_path))
    record = {
        "included": ["dev-1", "dev-2"],
        "dropped": ["dev-3"],
        "recovered": [],
        "bytes": apart((2_500_000, 41_000, 2_400_000, 36_500)),
        "bytes_of": {"dev-1": apart((1_250_000, 41_000, 1_200_000, 36_500))},
        "bytes_at_least": True,
        "declined": {"dev-4": "NoCompressor", "dev-5": "NoCompressor"},
    }
    with store.begin() as connection:
        jobs.add(connection, "digits", {}, 1.0)
        for name in ("dev-1", "dev-4"):
            devices.enrolled(connection, name, tenant="t", serial=1, time=1.0)
        rounds.put(
            connection,
            rounds.RoundRow(
                job="digits",
                round=3,
                attempt=1,
                purpose="train",
                status="closed",
                reason="",
                started=5.0,
                seconds=1.5,
                record=record,
            ),
        )
    store.close()
    return tmp_path


def said(state: Path, capsys: pytest.CaptureFixture[str], *words: str, **options: Any) -> str:
    parser = argparse.ArgumentParser()
    round_cli.configure(parser)
    arguments = parser.parse_args([*words, "--state", str(state)])
    for name, value in options.items():
        setattr(arguments, name, value)
    assert round_cli.run(arguments) == 0
    return capsys.readouterr().out


def test_the_list_says_what_of_the_bytes_was_control(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, row = said(state, capsys, "list", "digits").splitlines()
    assert head.split()[7:] == ["kB", "up", "of", "it", "control", "kB", "down", "of", "it", "control", "seconds", "at"]
    assert row.split()[7:11] == ["≥2,500.0", "100.0", "≥41.0", "4.5"]


def test_a_round_shows_what_each_device_carried(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(state, capsys, "show", "digits", "3", json=True))
    assert found["bytes_of"]["dev-1"]["control_up"] == 50_000
    assert found["bytes"]["control_down"] == 4_500


def test_a_round_says_whom_it_went_without_and_the_list_of_devices_says_so_of_the_newest(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(state, capsys, "list", "digits").splitlines()[1].endswith("  2 declined: NoCompressor")
    assert json.loads(said(state, capsys, "show", "digits", "3", json=True))["declined"]["dev-4"] == "NoCompressor"
    options = argparse.Namespace(state=state, database=None, json=False)
    assert device_cli.run(options) == 0
    head, one, four = capsys.readouterr().out.splitlines()
    assert head.startswith("device")
    assert four.endswith("  not in the newest round: NoCompressor")
    assert "NoCompressor" not in one
    assert device_cli.run(argparse.Namespace(state=state, database=None, json=True)) == 0
    assert [row["declined"] for row in json.loads(capsys.readouterr().out)] == ["", "NoCompressor"]
