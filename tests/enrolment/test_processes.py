"""From an empty folder to a trained round, over a real broker: invite, enrol, approve, train, revoke, enrol anew."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord import cli
from accord.entropy import SeededEntropy
from aggregator.fleet_folder import FleetFolder
from quantize import make_bundle
from tests.fleet.process_fleet import until
from tests.pages import free_port

NAMES = ("pi-1", "pi-2", "pi-3", "pi-4")
JOB = """[job]
name = "j"
bundle = "bundle"
task = "classification"
rounds = 500
devices = 4
floor = 3
[training]
epochs = 1
batch_size = 8
learning_rate = 0.1
[windows]
gather = 20.0
join = 20.0
share = 20.0
collect = 60.0
unmask = 20.0
grace = 1.0
"""
ACCORD = [sys.executable, "-m", "accord"]
ENVIRONMENT = os.environ | {"PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Machines:
    """One folder for each machine; `events` fills with what the aggregator says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.mutual_port = folder, free_port(), free_port()
        self.events: list[dict[str, Any]] = []
        self.running: dict[str, subprocess.Popen[str]] = {}
        self._change = threading.Condition()

    def accord(self, *words: object, code: int = 0) -> Any:
        """Carry out one command of the office, in this process: there are many, and each would start Python anew."""
        said, wrong = StringIO(), StringIO()
        with contextlib.chdir(self.folder), redirect_stdout(said), redirect_stderr(wrong):
            found = cli.main([*map(str, words), "--json"])
        assert found == code, (words, said.getvalue(), wrong.getvalue())
        return json.loads(said.getvalue().splitlines()[-1])

    def start(self, name: str, *words: object) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("a") as log:
            self.running[name] = subprocess.Popen(
                [*ACCORD, *map(str, words), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "up" else log,
                stderr=log,
                text=True,
                cwd=self.folder,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        return self.running[name]

    def up(self) -> None:
        where = ("--port", self.port, "--mutual-port", self.mutual_port)
        process = self.start("up", "up", "--fleet", "fleet/aggregator", "--state", "state", *where)
        assert process.stdout is not None

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                with self._change:
                    self.events.append(json.loads(line))
                    self._change.notify_all()

        self.reader = threading.Thread(target=read)
        self.reader.start()
        self.wait(lambda e: e["event"] == "up")

    def wait(self, wanted: Callable[[dict[str, Any]], bool], after: int = 0) -> int:
        """Wait for an event and return how many had come with it."""
        seen = after
        with self._change:
            while True:
                while seen < len(self.events):
                    seen += 1
                    if wanted(self.events[seen - 1]):
                        return seen
                assert self._change.wait(120), (self.events[-5:], self.logs())

    def said(self, name: str, fact: dict[str, Any]) -> None:
        """Wait until a device's process has printed something."""
        line, path = json.dumps(fact), self.folder / f"{name}.log"
        until(lambda: line in path.read_text(), f"{name} says {line}")

    def logs(self) -> str:
        return "\n".join(path.read_text()[-1_000:] for path in sorted(self.folder.glob("*.log")))

    def round_of(self, names: set[str], after: int) -> int:
        """Wait for a training round in which exactly these took part."""

        def wanted(event: dict[str, Any]) -> bool:
            trained = event["event"] == "round" and event["purpose"] == "train"
            return trained and set(event["included"]) == names

        return self.wait(wanted, after)

    def enrol(self, *names: str) -> None:
        after = len(self.events)
        for name in names:
            invite = self.folder / f"{name}.invite"
            invite.unlink(missing_ok=True)
            where = f"127.0.0.1:{self.port}"
            words = ["--enrolment", "fleet/enrolment", "--broker", where, "--job", "j", "--out", invite]
            words += ["--mutual-port", self.mutual_port]
            self.accord("fleet", "invite", name, *words, "--clients", "state/broker")
            work = ["--bundle", "bundle", "--data", f"{name}.npz", "--smallest-cohort", 3]
            self.start(name, "device", "enrol", invite, "--state", name, *work)
        for name in names:
            self.wait(lambda e, name=name: e["event"] == "asked" and e["device"] == name, after)

    def approve(self, *names: str) -> list[int]:
        found = self.accord("fleet", "approve", *(names or ["--all"]), *self.office)
        for one in found["approved"]:
            assert self.running[one["device"]].wait(60) == 0, self.logs()
        return [one["serial"] for one in found["approved"]]

    @property
    def office(self) -> list[str]:
        return ["--enrolment", "fleet/enrolment", "--state", "state"]

    def run(self, name: str) -> None:
        self.start(name, "device", "run", "--config", f"{name}/device.toml")

    def end(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        process.wait(30)

    def online(self, name: str) -> bool:
        """Return whether the aggregator sees a device."""
        return {row["name"]: row["online"] for row in self.accord("device", "list", "--state", "state")}[name]

    def close(self) -> None:
        for name in sorted(self.running, key=lambda name: name == "up"):
            process = self.running[name]
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if "up" in self.running:
            self.reader.join(20)
            pipe = self.running["up"].stdout
            assert pipe is not None
            pipe.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    found = Machines(tmp_path)
    yield found
    found.close()


def rows(path: Path, seed: int) -> None:
    rng, buffer = np.random.default_rng(seed), BytesIO()
    y = rng.integers(0, 3, 60)
    x = (rng.normal(size=(60, 6)) + y[:, None]).astype(np.float32)
    np.savez(buffer, x_train=x[:48], y_train=y[:48], x_test=x[48:], y_test=y[48:])
    path.write_bytes(buffer.getvalue())


@pytest.mark.timeout(1_800)  # for what hangs without a wait of its own: each wait here has a limit, and says what for
def test_the_life_of_a_fleet(machines: Machines) -> None:
    folder = machines.folder
    machines.accord("fleet", "init", "fleet")
    key = FleetFolder(path=folder / "fleet").publisher()
    (folder / "bundle").write_bytes(make_bundle("linear", (6,), 3, "softmax", 8, SeededEntropy(5), key))
    for seed, name in enumerate(NAMES):
        rows(folder / f"{name}.npz", seed)
    shutil.move(folder / "fleet" / "root", folder / "offline")  # nothing needs it any more

    machines.up()
    machines.enrol(*NAMES)
    listed = machines.accord("fleet", "list", *machines.office)["devices"]
    assert [(row["device"], row["status"], row["waiting"]) for row in listed] == [
        (name, "invited", True) for name in NAMES
    ]
    assert sorted(machines.approve()) == [1, 2, 3, 4]

    (folder / "job.toml").write_text(JOB)
    machines.accord("job", "start", "--config", "job.toml", "--state", "state")
    for name in NAMES:
        machines.run(name)
    seen = machines.round_of(set(NAMES), 0)

    serial = next(
        row["serial"]
        for row in machines.accord("fleet", "list", *machines.office)["devices"]
        if row["device"] == "pi-3"
    )
    assert machines.accord("fleet", "revoke", "pi-3", *machines.office)["revoked"] == [serial]
    seen = machines.wait(lambda e: e["event"] == "revocations" and e["devices"] == ["pi-3"], seen)
    until(lambda: not machines.online("pi-3"), "the broker has cut it off")
    seen = machines.round_of({"pi-1", "pi-2", "pi-4"}, seen)
    assert not machines.online("pi-3"), "and lets it in no more"

    machines.end("pi-3")
    shutil.rmtree(folder / "pi-3")  # the card is wiped
    machines.enrol("pi-3")
    assert machines.approve("pi-3") == [5]
    machines.run("pi-3")
    seen = machines.round_of(set(NAMES), seen)

    machines.end("pi-4")
    renewed = machines.accord("fleet", "renew", *machines.office, "--within", 365, "--days", 200)["renewed"]
    newest = {one["device"]: one["serial"] for one in renewed}
    newer = newest["pi-4"]
    for name in ("pi-1", "pi-2", "pi-3"):  # these run, and take theirs up by themselves
        machines.said(name, {"renewed": newest[name]})
    told = machines.accord("device", "renew", "--config", "pi-4/device.toml")
    assert told == {"device": "pi-4", "serial": newer, "renewed": True}
    machines.run("pi-4")
    seen = machines.round_of(set(NAMES), seen)

    words = ["--root", "offline", "--rotate", "aggregator", "--days", 300, "--out", "next"]
    assert machines.accord("fleet", "roles", *words)["version"] == 2
    for part in ("enrolment", "aggregator"):
        shutil.copytree(folder / "next" / part, folder / "fleet" / part, dirs_exist_ok=True)
    seen = machines.wait(lambda e: e["event"] == "roles" and e["version"] == 2, seen)
    seen = machines.round_of(set(NAMES), seen)  # under the new document, signed with the new key

    machines.end("pi-2")
    shutil.copytree(folder / "pi-2", folder / "image")
    machines.run("pi-2")
    seen = machines.round_of(set(NAMES), seen)
    machines.end("pi-2")
    shutil.rmtree(folder / "pi-2")
    shutil.copytree(folder / "image", folder / "pi-2")  # somebody brings back an old image
    machines.run("pi-2")
    seen = machines.wait(lambda e: e.get("reason") == "SequenceBack" and e["device"] == "pi-2", seen)
    seen = machines.round_of({"pi-1", "pi-3", "pi-4"}, seen)
    rows_ = {
        row["name"]: (row["status"], row["reason"]) for row in machines.accord("device", "list", "--state", "state")
    }
    assert rows_["pi-2"] == ("barred", "SequenceBack")
    assert rows_["pi-3"] == ("enrolled", "")
    assert "enrol it anew" in (folder / "pi-2.log").read_text()

    machines.accord("job", "stop", "j", "--state", "state")
    machines.wait(lambda e: e["event"] == "ended", seen)
    tail = subprocess.run(
        [*ACCORD, "audit", "tail", "--state", str(folder / "state"), "-n", "100000", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tail.stdout.count('"enrolment"') == 5 + 4, "each certificate once: the first ones and the renewed ones"
    assert tail.stdout.count('"revocation"') >= 2
    assert tail.stdout.count('"roles"') == 2
    machines.accord("audit", "verify", "--state", "state", "--root", "offline/root.pub")
    machines.accord("model", "verify", "--state", "state", "--root", "offline/root.pub")
