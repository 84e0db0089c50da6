"""A fleet as processes on this machine: folders, configuration, a broker, an aggregator and devices, and their end."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from accord.entropy import SystemEntropy
from accord.errors import AccordError
from accord.files import make_folder, write_atomic
from accord.plan import CLASSIC, STANDARD
from aggregator.fleet_folder import FleetFolder
from aggregator.fleet_making import NewFleet, create
from edge_sdk.journal import BROKER
from simulation.partition import DeviceData
from simulation.rig_broker import RigBroker
from simulation.rig_windows import USUAL

TENANT = "demo"
JOB = "job"
_LIFE = 90 * 86_400  # seconds, as of a fleet that people make
_LOGIN = 60.0  # seconds
_POLL = 0.05  # seconds between two looks at who has logged in


@dataclass(frozen=True, kw_only=True)
class RigSettings:
    """What the processes are told."""

    broker: str
    devices: int
    rounds: int
    floor: int
    learning_rate: float
    momentum: float
    batch_size: int
    epochs: int
    optimiser: str = "sgd"
    update: str = "dense:16"
    task: str = "classification"
    profile: str = STANDARD
    keys: str = CLASSIC
    tls: bool = True
    windows: Mapping[str, float] = field(default_factory=lambda: dict(USUAL))


class Rig:
    """The processes; `close` leaves none behind.

    Args:
        folder: an empty or missing folder for everything.
        settings: what to run.
        names: device ids.
    """

    def __init__(self, folder: Path, settings: RigSettings, names: tuple[str, ...]) -> None:
        self.folder, self.settings = make_folder(folder), settings
        self.names = names
        self.fleet: FleetFolder = create(
            folder / "fleet",
            NewFleet(tenant=TENANT, devices=names, now=int(time.time()), expires=int(time.time()) + _LIFE),
            SystemEntropy(),
        )
        self.broker = RigBroker(settings.broker, self.folder / "broker", TENANT, self.fleet, tls=settings.tls)
        self._aggregator: subprocess.Popen[bytes] | None = None
        self._devices: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._restarts = 0
        threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
        self._environment = os.environ | threads | {"PYTHONUNBUFFERED": "1"}

    @property
    def port(self) -> int:
        """Where the broker listens."""
        return self.broker.port

    @property
    def state(self) -> Path:
        """Where the aggregator writes its rounds and the model."""
        return self.folder / "aggregator"

    @property
    def journals(self) -> dict[str, Path]:
        """The state folder of each device."""
        return {name: self.folder / "devices" / name / "state" for name in self.names}

    def prepare(self, bundle: bytes, data: Mapping[str, DeviceData]) -> None:
        """Write the bundle, each device's rows, and every configuration file."""
        write_atomic(self.folder / "bundle", bundle)
        for name in self.names:
            home = make_folder(self.folder / "devices" / name)
            rows, buffer = data[name], BytesIO()
            np.savez(buffer, x_train=rows.x_train, y_train=rows.y_train, x_test=rows.x_test, y_test=rows.y_test)
            write_atomic(home / "rows.npz", buffer.getvalue())

    def start_broker(self) -> None:
        """Start the broker and wait until it listens.

        Raises:
            UsageError: it is not installed, or did not start.
        """
        self.broker.start()

    def hurt_broker(self) -> None:
        """Do to the broker what it must carry: see `RigBroker.hurt`."""
        with self._lock:
            if not self._closed:
                self.broker.hurt()

    def start_aggregator(self) -> subprocess.Popen[bytes]:
        """Start the aggregator; its standard output is a pipe of JSON lines."""
        settings = self.settings
        text = f"""[aggregator]
fleet = "fleet"
state = "aggregator"
{self.broker.aggregator_table()}[job]
name = "{JOB}"
bundle = "bundle"
task = "{settings.task}"
rounds = {settings.rounds}
devices = {settings.devices}
floor = {settings.floor}
profile = "{settings.profile}"
update = "{settings.update}"
keys = "{settings.keys}"
[training]
epochs = {settings.epochs}
batch_size = {settings.batch_size}
learning_rate = {settings.learning_rate}
momentum = {settings.momentum}
optimiser = "{settings.optimiser}"
[windows]
""" + "".join(f"{name} = {seconds}\n" for name, seconds in settings.windows.items())
        write_atomic(self.folder / "aggregator.toml", text.encode())
        log = (self.folder / "aggregator.log").open("ab")
        self._aggregator = subprocess.Popen(  # noqa: S603 - our own program
            [
                sys.executable,
                "-m",
                "accord",
                "aggregator",
                "serve",
                "--config",
                str(self.folder / "aggregator.toml"),
                "--json",
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            env=self._environment,
            start_new_session=True,
        )
        log.close()
        return self._aggregator

    def kill_aggregator(self) -> None:
        """Kill the aggregator's process with SIGKILL; `facts` starts it again."""
        with self._lock:
            if self._aggregator is not None and not self._closed:
                self._restarts += 1
                self._aggregator.kill()

    def facts(self) -> Iterator[dict[str, Any]]:
        """Yield each JSON line that the aggregator prints, until it ends by itself; killed, it is started again.

        Raises:
            AccordError: a line is not JSON, or is the error with which the process ended.
        """
        killed = 0
        while True:
            yield from records(self.start_aggregator())
            with self._lock:
                if self._closed or self._restarts == killed:
                    return
                killed = self._restarts

    def start_device(self, name: str) -> None:
        """Start one device's process."""
        home = self.folder / "devices" / name
        fleet = self.fleet.device(name)
        text = f"""[device]
id = "{name}"
tenant = "{TENANT}"
job = "{JOB}"
state = "state"
heartbeat = 10.0
[trust]
identity = "{fleet / "identity"}"
certificate = "{fleet / "certificate"}"
roles = "{self.fleet.path / "roles"}"
root = "{self.fleet.path / "root.pub"}"
{self.broker.device_table(name)}[work]
bundle = "{self.folder / "bundle"}"
data = "rows.npz"
[limits]
smallest_cohort = {self.settings.floor}
"""
        write_atomic(home / "device.toml", text.encode())
        words = ["device", "run", "--config", str(home / "device.toml"), "--json"]
        with self._lock:
            if not self._closed:
                self._devices[name] = self._spawn(words, home / "log")

    def start_devices(self, names: Iterable[str], at_once: int) -> None:
        """Start devices for the first time, at most `at_once` together: a process that starts takes most of a core.

        One is given up on if it has not logged in within a minute: it may still come.
        """
        starting: dict[str, float] = {}
        for name in names:
            self.start_device(name)
            starting[name] = time.monotonic() + _LOGIN
            while len(starting) >= at_once:
                time.sleep(_POLL)
                dead = self.dead()
                starting = {
                    one: until
                    for one, until in starting.items()
                    if one not in dead and until > time.monotonic() and not (self.journals[one] / BROKER).exists()
                }

    def kill_device(self, name: str) -> None:
        """Kill a device's process with SIGKILL."""
        with self._lock:
            process = self._devices.get(name)
            if process is not None:
                process.kill()
                process.wait()

    def dead(self) -> tuple[str, ...]:
        """Return the devices whose process has ended."""
        with self._lock:
            return tuple(name for name, process in self._devices.items() if process.poll() is not None)

    def close(self) -> None:
        """End every process, politely and then not."""
        with self._lock:
            self._closed = True
            running = [p for p in (*self._devices.values(), self._aggregator) if p is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + 5
        for process in running:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.broker.stop()

    def _spawn(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "accord", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=self._environment,
                start_new_session=True,
            )


def records(process: subprocess.Popen[bytes]) -> Any:
    """Yield each JSON line that a process prints, until it ends.

    Raises:
        AccordError: a line is not JSON, or is the error with which the process ended.
    """
    if process.stdout is None:
        raise AccordError("the process has no pipe to read from")
    for line in process.stdout:
        try:
            fact = json.loads(line)
        except ValueError as error:
            if process.poll() is not None and not line.endswith(b"\n"):
                return  # killed in the middle of a line
            raise AccordError(f"the aggregator printed {line[:200]!r}") from error
        if "error" in fact:
            raise AccordError(f"the aggregator ended: {fact['error']}")
        yield fact
