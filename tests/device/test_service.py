"""The device as a service: what systemd hears of it, `--once` for cron, and one process to a state folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from device_fleet import NAMES, DeviceFleet
from notify_socket import listening

from accord.files import FileError
from edge_sdk import EdgeClient, load

WATCHDOG = 6.0  # seconds


def words(config: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "accord", "device", "run", "--config", str(config), "--json", *more]


@contextmanager
def running(config: Path, *more: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        words(config, *more),
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, list[dict[str, Any]]]:
    out, _ = process.communicate(timeout=seconds)
    return process.returncode, [json.loads(line) for line in out.splitlines()]


class Gate:
    """Stands between a device and its broker, and lets the broker's bytes through once it is opened."""

    def __init__(self, port: int) -> None:
        self.asked, self.opened = threading.Event(), threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._sockets = [self._server]
        self._target = port
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:  # it tries one version of MQTT, and then the other
                device = self._server.accept()[0]
                broker = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [device, broker]
                for source, target, first in ((broker, device, self.opened.wait), (device, broker, self.asked.set)):
                    threading.Thread(target=self._pump, args=(source, target, first), daemon=True).start()
        except OSError:
            return

    def _pump(self, source: socket.socket, target: socket.socket, first: Any) -> None:
        try:
            while data := source.recv(65_536):
                first()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        self.opened.set()
        for found in self._sockets:
            found.close()


def test_ready_is_told_after_the_login_and_signs_of_life_while_it_waits(fleet: DeviceFleet, tmp_path: Path) -> None:
    config = fleet.config(NAMES[0])
    gate = Gate(fleet.rig.broker.mutual_port)
    config.write_text(config.read_text().replace(f"port = {fleet.rig.broker.mutual_port}", f"port = {gate.port}"))
    with listening(tmp_path) as manager, running(config, **manager.environment(WATCHDOG)) as device:
        assert gate.asked.wait(60), "it never came to its login"
        assert manager.read(0.2) == [], "the broker has not answered yet"
        gate.opened.set()
        heard = manager.wait("WATCHDOG", count=4)
        assert heard[:3] == ["READY", "STATUS", "WATCHDOG"]
        assert "connected" in manager.said[1][2]
        beats = manager.times("WATCHDOG")
        device.send_signal(signal.SIGTERM)
        manager.wait("STOPPING")
        code, _ = ended(device)
        assert code == 0
        assert manager.read().count("READY") == 1
        assert len(beats) <= 2 + (beats[-1] - beats[0]) / (WATCHDOG / 4), "the manager is not flooded"
    gate.close()


def test_a_device_without_a_broker_is_never_ready(fleet: DeviceFleet, tmp_path: Path) -> None:
    config = fleet.config(NAMES[0])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    config.write_text(config.read_text().replace(f"port = {fleet.rig.broker.mutual_port}", f"port = {port}"))
    with listening(tmp_path, abstract=True) as manager, running(config, **manager.environment(WATCHDOG)) as device:
        code, found = ended(device)
        assert code == 1
        assert "no broker at" in found[-1]["error"]
        assert manager.read() == []


WORKING = """
import sys
from pathlib import Path
from accord.link.notify import Notifier
from edge_sdk import EdgeClient, load

notifier = Notifier()
stuck = len(sys.argv) > 2

def progress(step):
    print(step.step, flush=True)
    if stuck and step.step == 3:
        sys.stdin.read()  # a step that never ends

turns = 0

def turned():
    global turns
    turns += 1
    notifier.alive()

with EdgeClient(load(Path(sys.argv[1])), progress=progress, turned=turned) as edge:
    notifier.ready()
    edge.run(rounds=3)
print("turns", turns)
"""


@pytest.mark.parametrize("stuck", [False, True], ids=["training", "stuck in a step"])
def test_signs_of_life_come_while_it_trains_and_end_where_a_step_is_stuck(stuck: bool, tmp_path: Path) -> None:
    fleet = DeviceFleet(tmp_path / "fleet", rounds=1, epochs=100)
    fleet.start()
    try:
        for name in NAMES[1:]:
            fleet.rig.start_device(name)
        code = [sys.executable, "-c", WORKING, str(fleet.config(NAMES[0])), *(["stuck"] if stuck else [])]
        with listening(tmp_path) as manager:
            environment = os.environ | manager.environment(3e-6)  # so short that each turn is a sign of life
            process = subprocess.Popen(code, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            assert process.stdin is not None
            for line in process.stdout:
                if line.strip() == "3":
                    break
            before = manager.read().count("WATCHDOG")
            if stuck:
                assert manager.read(1.0).count("WATCHDOG") == before, "the loop does not turn"
                process.kill()
            else:
                *steps, last = process.stdout.read().splitlines()
                assert len(steps) > 300
                assert int(last.removeprefix("turns ")) > len(steps), "between its steps it tells that it lives"
                assert manager.read().count("WATCHDOG") > before, "what nobody had room for is not waited for"
            process.stdin.close()
            process.stdout.close()
            assert process.wait(60) == (-signal.SIGKILL if stuck else 0)
    finally:
        fleet.close()


def test_once_takes_part_once_and_says_so_by_its_exit_code(fleet: DeviceFleet) -> None:
    for name in NAMES[1:]:
        fleet.rig.start_device(name)
    for _ in range(3):
        with running(fleet.config(NAMES[0]), "--once", "--timeout", "100") as device:
            code, found = ended(device, 120)
        assert code == 0, found
        assert [line["status"] for line in found if "status" in line] == ["closed"]
        assert not any("left" in line for line in found)


def test_once_leaves_where_there_is_nothing_to_do(fleet: DeviceFleet) -> None:
    config = fleet.config(NAMES[0])  # alone: no round begins without the others
    with running(config, "--once", "--timeout", "0.5") as device:
        code, found = ended(device)
    assert code == 0
    assert found[-1] == {"left": "nothing more to do for now"}
    for wrong in ("0", "-1", "soon", "inf", "nan"):
        done = subprocess.run(words(config, "--once", "--timeout", wrong), capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "number of seconds above 0" in done.stdout


def test_a_second_process_on_one_state_folder_is_refused_by_name(fleet: DeviceFleet, tmp_path: Path) -> None:
    config = fleet.config(NAMES[0])
    with listening(tmp_path) as manager, running(config, **manager.environment()) as first:
        manager.wait("READY")
        with running(config, "--once", "--timeout", "1") as second:
            code, found = ended(second)
        assert code == 1
        assert found[-1]["reason"] == "StateInUse"
        assert "stop that one first" in found[-1]["error"]
        with pytest.raises(FileError, match="in use") as refused:
            EdgeClient(load(config))
        assert refused.value.reason == "StateInUse"
        erase = [sys.executable, "-m", "accord", "device", "erase", "--config", str(config), "--yes", "--json"]
        done = subprocess.run(erase, capture_output=True, text=True, check=False)
        assert json.loads(done.stdout)["reason"] == "StateInUse"
        status = [sys.executable, "-m", "accord", "device", "status", "--config", str(config), "--json"]
        assert subprocess.run(status, capture_output=True, check=False).returncode == 0, "who only looks may"
        first.kill()  # SIGKILL leaves no lock behind
        first.wait()
    with EdgeClient(load(config)):
        pass
    with EdgeClient(load(config)):
        pass
