"""EdgeClient in a real fleet: it rests and pauses while constraints do not hold, tells its progress, and stops."""

import inspect
import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from device_fleet import NAMES, TRAIN, DeviceFleet, rows

from edge_sdk import Conditions, EdgeClient, load
from edge_sdk.conditions import Unmet
from edge_sdk.pace import Progress
from edge_sdk.session_values import Finished

LIMIT = "[constraints]\nrequires_charging = true\n"


class Device:
    """An EdgeClient in a thread of its own."""

    def __init__(self, config: Path, **options: object) -> None:
        self.effects: list[object] = []
        self.edge = EdgeClient(load(config), self.effects.append, **options)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self.edge:
            self.edge.run()

    @property
    def rounds(self) -> list[int]:
        found = [e for e in self.effects if isinstance(e, Finished)]
        return [e.round for e in found if e.included and e.status == "closed"]

    def end(self) -> None:
        self.edge.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()


def test_training_pauses_within_a_step_and_goes_on(fleet: DeviceFleet) -> None:
    power = {"on": True}
    steps: list[Progress] = []
    stories: list[tuple[str, int]] = []
    looks: list[int] = []

    def readings() -> Conditions:
        if not power["on"]:
            looks.append(len(steps))
            power["on"] = len(looks) > 3  # the charger comes back after a few looks
        return Conditions(charging=power["on"])

    def progress(step: Progress) -> None:
        steps.append(step)
        if len(steps) == 5:
            power["on"] = False

    def rested(unmet: tuple[Unmet, ...]) -> None:
        stories.append((",".join(found.name for found in unmet), len(steps)))

    paused = Device(fleet.config(NAMES[0], more=LIMIT), readings=readings, progress=progress, rested=rested)
    others = [Device(fleet.config(name)) for name in NAMES[1:]]
    for device in (paused, *others):
        device.thread.start()
    closed = fleet.rounds()
    for device in (paused, *others):
        device.end()
    assert stories == [("requires_charging", 5), ("", 5)], "not one step was taken in between"
    assert looks == [5] * 4
    assert [r["status"] for r in closed] == ["closed", "closed"]
    assert all(set(r["included"]) == set(NAMES) for r in closed)
    trained = {step.round for step in steps}
    assert trained <= set(paused.rounds)
    assert [s.step for s in steps] == 2 * list(range(1, 2 * TRAIN // 8 + 1))


def test_a_device_that_may_not_train_takes_no_part_until_it_may(fleet: DeviceFleet) -> None:
    power = {"on": False}
    seen = threading.Event()
    steps: list[Progress] = []

    def readings() -> Conditions:
        seen.set()
        return Conditions(charging=power["on"])

    resting = Device(fleet.config(NAMES[0], more=LIMIT), readings=readings, progress=steps.append)
    others = [Device(fleet.config(name)) for name in NAMES[1:]]
    for device in (resting, *others):
        device.thread.start()
    assert seen.wait(20)
    while not any(device.edge._agent.session.stage.value == "checked-in" for device in others):
        assert others[0].thread.is_alive()
        threading.Event().wait(0.02)
    assert resting.edge._agent.session.stage.value == "idle", "it has not even asked for the model"
    assert steps == []
    power["on"] = True
    closed = fleet.rounds()
    for device in (resting, *others):
        device.end()
    assert all(set(r["included"]) == set(NAMES) for r in closed)
    assert steps


def test_stop_ends_training_within_a_step(fleet: DeviceFleet) -> None:
    steps: list[Progress] = []
    found: list[Device] = []

    def progress(step: Progress) -> None:
        steps.append(step)
        if len(steps) == 3:
            found[0].edge.stop()

    found = [Device(fleet.config(NAMES[0]), progress=progress), *(Device(fleet.config(name)) for name in NAMES[1:])]
    for device in found:
        device.thread.start()
    found[0].thread.join(60)
    assert not found[0].thread.is_alive()
    assert len(steps) == 3
    again = Device(fleet.config(NAMES[0]))  # it comes back into the same attempt from its journal
    again.thread.start()
    closed = fleet.rounds()
    for device in (again, *found[1:]):
        device.end()
    assert all(r["status"] == "closed" for r in closed)
    assert again.rounds


def test_the_example_in_the_docstring_runs(fleet: DeviceFleet, tmp_path: Path) -> None:
    text = inspect.getdoc(EdgeClient) or ""
    example = textwrap.dedent(re.search(r"::\n\n(.*?)\n\n\w", text, re.DOTALL).group(1))  # type: ignore[union-attr]
    assert "examples.add" in example
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    own = rows(0)
    np.savez(tmp_path / "own.npz", x=own.x_train, y=own.y_train)
    given = f"import numpy as np\nwith np.load({str(tmp_path / 'own.npz')!r}) as own:\n    x, y = own['x'], own['y']\n"
    config = fleet.config(NAMES[0], data=False)
    others = [Device(fleet.config(name)) for name in NAMES[1:]]
    for device in others:
        device.thread.start()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for _ in range(6):  # a round for each time that it is run: statistics, training and the last figures
        done = subprocess.run(
            [sys.executable, "-c", given + example],
            cwd=config.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if "step 1 of" in done.stdout:
            break
    lines = done.stdout.splitlines()
    assert lines[0].startswith("round "), lines
    assert re.fullmatch(r"round \d+: step 1 of \d+, loss \d+\.\d{3}", lines[0])
    for device in others:
        device.end()


def test_a_password_that_others_may_read_is_refused(fleet: DeviceFleet) -> None:
    config = fleet.config(NAMES[0])
    (fleet.rig.fleet.device(NAMES[0]) / "password").chmod(0o644)
    with pytest.raises(Exception, match="password is readable by others: chmod 600"):
        EdgeClient(load(config))
