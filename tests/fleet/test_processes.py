"""Real processes, killed with SIGKILL at each kind of point of a round: it ends in the same round, with the right sums.

Where a round stands when the blow falls is read from the aggregator's store; nothing sleeps.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import accord
from notify_socket import listening
from process_fleet import FILES, NAMES, STAGES, TEST_ROWS, VICTIM, ProcessFleet, until

from simulation.rig import JOB

STATISTICS = 2
"""Rounds before the first training round."""
TRAINING = 5


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProcessFleet]:
    found = ProcessFleet(tmp_path / "fleet", rounds=getattr(request, "param", TRAINING))
    found.start_aggregator()
    for name in NAMES:
        found.rig.start_device(name)
    yield found
    found.close()


def check(fleet: ProcessFleet) -> None:
    """Every round was closed once, at its first attempt, with everybody in it, and what they hold was counted once."""
    total = STATISTICS + TRAINING + 1
    until(lambda: fleet.rig._aggregator is not None and fleet.rig._aggregator.poll() is not None, "the job is over")
    assert fleet.rig._aggregator is not None
    assert fleet.rig._aggregator.returncode == 0
    found = fleet.ended()
    assert [row.round for row in found] == list(range(1, total + 1))
    assert Counter(row.purpose for row in found) == {"powers": 1, "moments": 1, "train": TRAINING, "evaluate": 1}
    for row in found:
        assert (row.status, row.attempt, row.record["aborted"]) == ("closed", 1, []), row
        assert row.record["included"] == list(NAMES)
        if row.purpose in ("train", "evaluate"):
            assert row.record["figures"]["count"] == [sum(TEST_ROWS.values())], "a row was lost, or counted twice"
    state, root = str(fleet.rig.state), str(fleet.rig.fleet.path / "root.pub")
    models = accord("model", "verify", "--state", state, "--root", root, "--json")
    assert models.returncode == 0, models.stdout
    assert json.loads(models.stdout)["faults"] == []
    versions = json.loads(accord("model", "list", "--state", state, "--json").stdout)["versions"]
    trained = [row.round for row in found if row.purpose == "train"]
    assert [version["round"] for version in versions if version["origin"] == "round"][-TRAINING:] == trained
    assert len({version["round"] for version in versions}) == len(versions), "no round made two versions"
    audit = accord("audit", "verify", "--state", state, "--root", root, "--json")
    assert audit.returncode == 0, audit.stdout
    entries = accord("audit", "tail", "--state", state, "-n", "1000", "--json").stdout.splitlines()
    kinds = Counter(json.loads(line)["kind"] for line in entries)
    assert kinds["participation"] == total * len(NAMES), "each participation is committed to once"
    for name in NAMES:
        lines = (fleet.rig.folder / "devices" / name / "log").read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        inside = [fact["round"] for fact in told if fact.get("in")]
        assert inside == sorted(set(inside)), "and no device says otherwise"
        assert len(inside) >= total - 1, "an answer that died with the aggregator may be overtaken by the next round"
        assert {fact["refused"] for fact in told if "refused" in fact} <= {"OutOfOrder", "RosterChanged"}, (
            "an answer may come twice"
        )


def test_the_aggregator_is_killed_at_each_kind_of_point(fleet: ProcessFleet) -> None:
    for stage in range(len(STAGES)):
        number = fleet.climb(stage)
        fleet.kill_aggregator()
        assert fleet.under_way, "it died in the middle of a round"
        assert VICTIM in fleet.letters(stage)
        if stage + 1 < len(STAGES):
            assert not fleet.letters(stage + 1), f"it died {STAGES[stage]}"
        fleet.start_aggregator()
        closed = fleet.go_on()
        assert closed.round == number, "the same round went on"
    until(lambda: not fleet.under_way, "it is between two rounds")
    fleet.kill_aggregator()
    fleet.start_aggregator()
    check(fleet)


def test_a_device_is_killed_at_each_kind_of_point(fleet: ProcessFleet) -> None:
    journal = fleet.rig.journals[VICTIM]
    for stage, file in enumerate(FILES):
        number = fleet.climb(stage)
        fleet.rig.kill_device(VICTIM)
        assert (journal / file).exists(), "it is in its journal where it was"
        assert not any((journal / later).exists() for later in FILES[stage + 1 :])
        birth = (journal / "birth").read_bytes()
        fleet.rig.start_device(VICTIM)
        until(lambda before=birth: (journal / "birth").read_bytes() != before, "the device is back")
        closed = fleet.go_on()
        assert closed.round == number
        assert VICTIM in closed.record["included"]
    check(fleet)


@pytest.mark.parametrize("fleet", [200], indirect=True, ids=["many rounds"])
def test_a_job_that_is_stopped_and_killed_ends_its_round_before_it_rolls_back(fleet: ProcessFleet) -> None:
    until(lambda: len(fleet.ended()) >= STATISTICS + 1, "a version was trained")
    state = ("--state", str(fleet.rig.state), "--json")
    back = ("model", "rollback", "1", "--fleet", str(fleet.rig.fleet.path), *state)
    refused = accord(*back)
    assert (refused.returncode, json.loads(refused.stdout).get("reason")) == (1, "JobRuns"), refused.stdout
    assert "stop the job first" in json.loads(refused.stdout)["error"]

    number = fleet.climb(1)
    fleet.kill_aggregator()
    assert accord("job", "stop", JOB, *state).returncode == 0
    refused = accord(*back)
    assert (refused.returncode, json.loads(refused.stdout).get("reason")) == (1, "JobRuns"), refused.stdout
    assert "its round is not over" in json.loads(refused.stdout)["error"]

    process = fleet.start_aggregator()
    assert fleet.go_on().round == number
    until(lambda: process.poll() is not None, "the process ends with its stopped job")
    assert process.returncode == 0
    assert len(fleet.ended()) == number, "and begins no other round"
    made = accord(*back)
    assert made.returncode == 0, made.stdout
    assert accord("job", "resume", JOB, *state).returncode == 0
    fleet.start_aggregator()
    until(lambda: len(fleet.ended()) > number, "it goes on")
    versions = json.loads(accord("model", "list", *state).stdout)["versions"]
    rollback = json.loads(made.stdout)["version"]
    assert versions[rollback]["params"] == versions[1]["params"]
    assert versions[rollback + 1]["parent"] == versions[rollback]["digest"], "from what was rolled back to"
    root = str(fleet.rig.fleet.path / "root.pub")
    assert accord("model", "verify", "--root", root, *state).returncode == 0
    fleet.rig._aggregator.terminate()  # type: ignore[union-attr]


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of a certain size can't be mounted here: {done.stderr.strip()[:200]}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a file system")
    path = tmp_path / "fleet" / "aggregator"
    path.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", str(path))
    yield path
    subprocess.run(["umount", "-l", str(path)], check=False)


def test_a_full_and_a_read_only_disk_are_told_by_name_and_the_job_goes_on_after(
    small_disk: Path, tmp_path: Path
) -> None:
    fleet = ProcessFleet(tmp_path / "fleet", rounds=TRAINING)
    try:
        process = fleet.start_aggregator()
        for name in NAMES:
            fleet.rig.start_device(name)
        until(lambda: len(fleet.ended()) >= STATISTICS, "rounds close")
        with (small_disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4_096))
        until(lambda: process.poll() is not None, "a full disk ends the process")
        fleet.joined()
        assert (process.returncode, fleet.facts[-1].get("reason")) == (1, "DiskFull"), fleet.facts[-3:]
        assert "free some space" in fleet.facts[-1]["error"]

        fleet.forget_store()
        mount("-o", "remount,ro", str(small_disk))
        process = fleet.start_aggregator()
        until(lambda: process.poll() is not None, "a read-only disk ends the process")
        fleet.joined()
        assert (process.returncode, fleet.facts[-1].get("reason")) == (1, "DiskReadOnly"), fleet.facts[-3:]
        mount("-o", "remount,rw", str(small_disk))
        (small_disk / "ballast").unlink()
        fleet.start_aggregator()
        check(fleet)
    finally:
        fleet.close()


def test_the_aggregator_tells_systemd_how_it_does(tmp_path: Path) -> None:
    fleet = ProcessFleet(tmp_path / "fleet", rounds=TRAINING)
    try:
        with listening(tmp_path) as manager:
            fleet.rig._environment |= manager.environment(6.0)
            process = fleet.start_aggregator()
            heard = manager.wait("WATCHDOG", count=3)
            assert heard[:3] == ["READY", "STATUS", "WATCHDOG"]
            os.kill(process.pid, signal.SIGSTOP)
            before = manager.read().count("WATCHDOG")
            assert manager.read(2.5).count("WATCHDOG") == before, "a process that stands still gives no sign of life"
            os.kill(process.pid, signal.SIGCONT)
            second = fleet.start_aggregator()
            assert second.wait(60) == 1
            fleet.joined_last()
            assert fleet.facts[-1]["reason"] == "StateInUse"
            assert manager.read().count("READY") == 1
            process.terminate()
            manager.wait("STOPPING")
            assert process.wait(60) == 0
    finally:
        fleet.close()
