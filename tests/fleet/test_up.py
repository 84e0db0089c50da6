"""`accord up` with two jobs side by side, driven by hand: stop, resume, roll back, follow, kill, start again."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import accord
from process_fleet import rows, until

from accord.entropy import SeededEntropy
from accord.files import make_folder
from accord.signing import SigningKey
from broker.process import free_port
from quantize import make_bundle

JOBS = {"left": ("dev-000", "dev-001", "dev-002"), "right": ("dev-003", "dev-004", "dev-005")}
JOB = """[job]
name = "{name}"
bundle = "bundle"
task = "classification"
rounds = {rounds}
devices = 3
floor = 3
[training]
epochs = 1
batch_size = 8
learning_rate = 0.1
[windows]
gather = 60.0
join = 60.0
share = 60.0
collect = 60.0
unmask = 60.0
grace = 20.0
"""
DEVICE = """[device]
id = "{name}"
tenant = "fleet"
job = "{job}"
state = "state"
heartbeat = 1.0
[trust]
identity = "{fleet}/devices/{name}/identity"
certificate = "{fleet}/devices/{name}/certificate"
roles = "{fleet}/roles"
root = "{fleet}/root.pub"
[broker]
host = "127.0.0.1"
port = {port}
password = "{fleet}/devices/{name}/password"
ca = "{fleet}/tls/ca.pem"
[work]
bundle = "{folder}/bundle"
data = "rows.npz"
[limits]
smallest_cohort = 3
"""


class Town:
    """A fleet's folder, `accord up` over it, and six devices in two jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.fleet, self.state = folder, folder / "fleet", folder / "state"
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.call("fleet", "init", "--dev", str(self.fleet), "--devices", "6")
        key = (self.fleet / "keys" / "publisher").read_bytes()
        (folder / "bundle").write_bytes(make_bundle("mlp:16", (6,), 3, "softmax", 8, SeededEntropy(5), SigningKey(key)))

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "accord", *words]

    def call(self, *words: str) -> Any:
        done = accord(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def of_state(self, *words: str) -> Any:
        return self.call(*words, "--state", str(self.state))

    def spawn(self, log: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            process = subprocess.Popen(
                self.words(*words), stdout=file, stderr=file, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )
        self._processes.append(process)
        return process

    def up(self) -> subprocess.Popen[bytes]:
        log = self.folder / "up.log"
        before = log.read_text().count('"event": "up"') if log.exists() else 0
        words = ("--fleet", str(self.fleet), "--state", str(self.state), "--port", str(self.port), "--json")
        process = self.spawn("up.log", "up", *words)
        until(lambda: log.read_text().count('"event": "up"') > before or process.poll() is not None, "it is up")
        assert process.poll() is None, log.read_text()
        return process

    def start_devices(self) -> None:
        for job, names in JOBS.items():
            for name in names:
                home = make_folder(self.folder / name)
                own = rows(0, 10)
                np.savez(
                    home / "rows.npz",
                    x_train=own.x_train,
                    y_train=own.y_train,
                    x_test=own.x_test,
                    y_test=own.y_test,
                )
                (home / "device.toml").write_text(
                    DEVICE.format(name=name, job=job, fleet=self.fleet, port=self.port, folder=self.folder)
                )
                self.spawn(f"{name}.log", "device", "run", "--config", str(home / "device.toml"), "--json")

    def start_job(self, name: str, rounds: int) -> None:
        path = self.folder / f"{name}.toml"
        path.write_text(JOB.format(name=name, rounds=rounds))
        self.of_state("job", "start", "--config", str(path))

    def status(self, job: str) -> str:
        return str({found["job"]: found["status"] for found in self.of_state("job", "list")}[job])

    def rounds(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.of_state("round", "list", job)
        return found

    def versions(self, job: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.of_state("model", "list", "--job", job)["versions"]
        return found

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait(30)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    found = Town(tmp_path)
    yield found
    found.close()


def test_two_jobs_side_by_side_stop_resume_roll_back_and_outlive_a_kill(town: Town) -> None:
    up = town.up()
    second = accord("up", "--fleet", str(town.fleet), "--state", str(town.state), "--port", "0", "--json")
    assert second.returncode == 1
    assert json.loads(second.stdout)["reason"] == "StateInUse"
    town.start_devices()
    town.start_job("left", 2_000)
    town.start_job("right", 2)
    follower = subprocess.Popen(
        town.words("job", "logs", "right", "-f", "--state", str(town.state), "--json"),
        stdout=subprocess.PIPE,
        text=True,
    )
    followed: list[dict[str, Any]] = []
    assert follower.stdout is not None
    pipe = follower.stdout
    reader = threading.Thread(target=lambda: followed.extend(json.loads(line) for line in pipe))
    reader.start()

    until(lambda: len(town.versions("left")) >= 4, "the left job makes versions", seconds=180, every=0.2)
    back = ("model", "rollback", "1", "--job", "left", "--fleet", str(town.fleet))
    refused = accord(*back, "--state", str(town.state))
    assert refused.returncode == 1
    assert "stop the job first" in refused.stderr
    assert "accord job stop left" in refused.stderr

    up.send_signal(signal.SIGKILL)
    up.wait()
    town.of_state("job", "stop", "left")  # while nobody runs it: its round is ended by the next start
    up = town.up()

    reader.join(180)
    assert not reader.is_alive(), followed
    assert follower.wait(10) == 0, "it ends with the job"
    pipe.close()
    assert [fact["round"] for fact in followed if fact["event"] == "round"] == sorted(
        {fact["round"] for fact in followed if fact["event"] == "round"}
    )
    assert town.status("right") == "done"
    done = town.rounds("right")
    assert [found["purpose"] for found in done] == ["powers", "moments", "train", "train", "evaluate"]
    assert all(found["included"] == list(JOBS["right"]) for found in done), "its own devices and no others"

    made: list[dict[str, Any]] = []

    def rolled_back() -> bool:
        tried = accord(*back, "--state", str(town.state), "--json")
        if tried.returncode == 0:
            made.append(json.loads(tried.stdout))
            return True
        assert json.loads(tried.stdout)["reason"] == "JobRuns"
        assert "its round is not over" in json.loads(tried.stdout)["error"]
        return False

    assert town.status("left") == "stopped"
    until(rolled_back, "the stopped job's last round is over, and the rollback is made", seconds=120, every=0.2)
    stopped_at = len(town.rounds("left"))
    versions = town.versions("left")
    assert versions[-1]["origin"] == "rollback"
    assert versions[-1]["params"] == versions[1]["params"]
    town.of_state("job", "resume", "left")
    until(lambda: len(town.versions("left")) > len(versions) + 1, "it trains on", seconds=180, every=0.2)
    assert town.status("left") == "running"
    after = town.versions("left")
    assert after[len(versions)]["parent"] == made[0]["digest"], "from the version that was rolled back to"
    shown = town.of_state("round", "show", "left", str(stopped_at + 1))
    assert shown["included"] == list(JOBS["left"])
    listed = {row["name"]: row for row in town.of_state("device", "list")}
    assert all(listed[name]["online"] for names in JOBS.values() for name in names)
    assert all(row["bytes_up"] > 0 and row["last_seen"] > 0 for row in listed.values())

    town.of_state("job", "stop", "left")
    root = str(town.fleet / "root.pub")
    for words in (("model", "verify"), ("audit", "verify")):
        assert accord(*words, "--state", str(town.state), "--root", root).returncode == 0
    tail = accord("audit", "tail", "--state", str(town.state), "-n", "100000", "--json")
    assert tail.stdout.count('"rollback"') == 1
    numbers = [found["round"] for found in town.rounds("left")]
    assert numbers == list(range(1, len(numbers) + 1))
    up.terminate()
    assert up.wait(60) == 0
    assert accord("job", "list", "--state", str(town.state)).returncode == 0
