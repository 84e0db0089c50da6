"""A small real fleet: a broker and an aggregator as processes, and configuration for three devices."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from accord.entropy import SeededEntropy
from edge_sdk.rows import Rows
from quantize import make_bundle
from simulation.rig import Rig, RigSettings, records

NAMES = ("dev-0", "dev-1", "dev-2")
BATCH = 8
TRAIN = 64


def rows(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, TRAIN + 16)
    x = (rng.normal(size=(TRAIN + 16, 6)) + y[:, None]).astype(np.float32)
    return Rows(x_train=x[:TRAIN], y_train=y[:TRAIN], x_test=x[TRAIN:], y_test=y[TRAIN:])


class DeviceFleet:
    """`events` fills with what the aggregator prints, until the job is over."""

    def __init__(self, folder: Path, *, rounds: int = 2, model: str = "mlp:16", epochs: int = 2) -> None:
        windows = {"gather": 60.0, "join": 30.0, "share": 30.0, "collect": 90.0, "unmask": 30.0, "grace": 1.0}
        self.rig = Rig(
            folder,
            RigSettings(
                broker="embedded",
                devices=3,
                rounds=rounds,
                floor=3,
                learning_rate=0.1,
                momentum=0.5,
                batch_size=BATCH,
                epochs=epochs,
                windows=windows,
            ),
            NAMES,
        )
        self.events: list[dict[str, Any]] = []
        bundle = make_bundle(model, (6,), 3, "softmax", BATCH, SeededEntropy(5), self.rig.fleet.publisher())
        self.rig.prepare(bundle, {name: rows(seed) for seed, name in enumerate(NAMES)})

    def start(self) -> None:
        self.rig.start_broker()
        process = self.rig.start_aggregator()
        self._reader = threading.Thread(target=lambda: self.events.extend(records(process)))
        self._reader.start()

    def config(self, name: str, *, data: bool = True, more: str = "") -> Path:
        """Write a device's configuration and return its path."""
        fleet = self.rig.fleet.device(name)
        text = f"""[device]
id = "{name}"
tenant = "demo"
job = "job"
state = "state"
poll = 0.0
[trust]
identity = "{fleet / "identity"}"
certificate = "{fleet / "certificate"}"
roles = "{self.rig.fleet.path / "roles"}"
root = "{self.rig.fleet.path / "root.pub"}"
{self.rig.broker.device_table(name)}[work]
bundle = "{self.rig.folder / "bundle"}"
{'data = "rows.npz"' if data else ""}
[limits]
smallest_cohort = 3
{more}"""
        path = self.rig.folder / "devices" / name / "device.toml"
        path.write_text(text)
        return path

    def rounds(self) -> list[dict[str, Any]]:
        """Wait for the job to end and return its training rounds."""
        self._reader.join(120)
        assert not self._reader.is_alive(), self.events
        return [e for e in self.events if e["event"] == "round" and e["purpose"] == "train"]

    def close(self) -> None:
        self.rig.close()
        self._reader.join(20)
        pipe = self.rig._aggregator.stdout if self.rig._aggregator is not None else None
        if pipe is not None:
            pipe.close()
