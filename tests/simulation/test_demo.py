"""The demo with few devices and rounds: real processes, real kills, one JSON object, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from accord import cli
from accord.errors import AccordError
from simulation import chaos, datasets
from simulation.rig import records
from simulation.rig_broker import HURT
from simulation.scenarios import scenario


def processes(marker: str) -> list[str]:
    """Return the command lines that mention `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if marker in line:
                found.append(line)
    return found


def words(folder: Path, *more: str) -> list[str]:
    keep, report = str(folder / "demo"), str(folder / "demo.html")
    return [sys.executable, "-m", "accord", "demo", "--keep", keep, "--report", report, "--rows", "1500", *more]


@pytest.mark.timeout(900)  # a minute on an idle machine; every stage has a window of its own
@pytest.mark.parametrize("broker", ["embedded", "mosquitto", "nats"])
def test_a_small_fleet_trains_while_devices_die(broker: str, tmp_path: Path) -> None:
    options = ["--devices", "6", "--rounds", "3", "--broker", broker, "--json"]
    done = subprocess.run(words(tmp_path, *options), capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["rounds"]) == 3
    assert {"accuracy", "seconds", "rounds"} <= set(found["fedavg"])
    assert found["centralized"]["accuracy"] > 0.2
    assert found["final"]["accuracy"] == pytest.approx(found["rounds"][-1]["accuracy"], abs=0.05)
    assert [row["dropouts"] for row in found["rounds"]][1] == 1, "one device is killed in the second round"
    assert all(row["bytes_up_per_device"] > row["payload_bytes_up"] > 10_000 for row in found["rounds"])
    devices = found["devices"].values()
    assert sum(device["participations"] for device in devices) == sum(row["participants"] for row in found["rounds"])
    assert sum(device["dropouts"] for device in devices) == sum(row["dropouts"] for row in found["rounds"])
    assert "<svg" in (tmp_path / "demo.html").read_text()
    assert HURT.get(broker, "") in " ".join(done.stderr.split())
    assert processes(str(tmp_path)) == []
    for secret in (tmp_path / "demo").rglob("*"):
        if secret.is_file() and secret.name in ("identity", "password", "aggregator", "root", "ledger", "masked"):
            assert secret.stat().st_mode & 0o077 == 0, secret


def test_options_that_can_not_be_are_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    for more in (
        ["--devices", "2"],
        ["--rounds", "0"],
        ["--rows", "0"],
        ["--rows", "100"],
        ["--broker", "none"],
        ["--lr", "0"],
        ["--optimiser", "lion"],
        ["--keys", "rsa"],
        ["--update", "dense"],
        ["--update", "topk:0.01:8"],
    ):
        assert cli.main(["demo", *more]) != 0
        assert more[0] in capsys.readouterr().err
    assert cli.main(["demo", "--report", "no/such/folder.html"]) == 1
    assert "there is no folder" in capsys.readouterr().err


def test_without_fashion_mnist_it_falls_back_to_digits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "FASHION_MNIST", tmp_path / "not-here")
    found = scenario("fashion", rows=1_000, test_rows=100, batch_size=32)
    data, said = found.data, found.said
    assert data.name == "digits-images"
    assert "falls back to digits" in said
    assert "dataset-fashion-mnist" in said, "and how to get the other"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        words(tmp_path, "--devices", "4", "--rounds", "6"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("round 1"):
            break
    process.send_signal(number)
    process.stdout.read()
    process.stdout.close()
    assert process.wait(30) == 130
    assert processes(str(tmp_path)) == []


def test_the_schedule_never_kills_more_than_the_profile_carries_but_once() -> None:
    devices = tuple(f"dev-{n:03d}" for n in range(12))
    planned = chaos.schedule(devices, 3, 10, needed=7)
    assert planned.abort == 9
    for number, blows in planned.blows.items():
        assert len({b.device for b in blows}) == len(blows)
        assert (len(blows) > 5) == (number == planned.abort)
        assert devices[-1] not in {b.device for b in blows}
    assert {b.step for blows in planned.blows.values() for b in blows} == set(chaos.STEPS)
    assert chaos.schedule(devices[:3], 3, 10, needed=3).blows == {}
    hurt = chaos.with_broker(planned, devices, 3, 10)
    assert hurt.broker == (5, chaos.Blow(device=devices[0], step="training"))
    assert hurt.blows == {number: blows for number, blows in planned.blows.items() if number != 5}


def test_an_aggregator_that_ends_with_an_error_is_quoted() -> None:
    words = [sys.executable, "-m", "accord", "aggregator", "serve", "--config", "no-such-file.toml", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process, pytest.raises(AccordError, match="no-such-file"):
        list(records(process))
