"""What an aggregator process is told: one JSON-free value, read from a TOML file whose unknown keys are refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from accord.errors import UsageError
from accord.files import read_limited
from accord.plan import MICRO, Training
from aggregator.round_values import Windows

LARGEST = 65_536  # bytes of a configuration file


@dataclass(frozen=True, kw_only=True)
class AggregatorConfig:
    """Where the fleet and the broker are, and the job to run; paths are relative to the file's own folder."""

    fleet: Path
    state: Path
    bundle: Path
    host: str
    port: int
    job: str
    task: str
    rounds: int
    devices: int
    cohorts: int
    floor: int
    secure_aggregation: bool
    training: Training
    windows: Windows
    max_attempts: int = 3


_SHAPE: Mapping[str, Mapping[str, tuple[type, Any]]] = {
    "aggregator": {"fleet": (str, None), "state": (str, None)},
    "broker": {"host": (str, "127.0.0.1"), "port": (int, 1883)},
    "job": {
        "name": (str, "job"),
        "bundle": (str, None),
        "task": (str, "classification"),
        "rounds": (int, 10),
        "devices": (int, None),
        "cohorts": (int, 1),
        "floor": (int, 20),
        "secure_aggregation": (bool, True),
        "max_attempts": (int, 3),
    },
    "training": {
        "epochs": (int, 1),
        "batch_size": (int, 32),
        "learning_rate": (float, 0.05),
        "momentum": (float, 0.0),
        "proximal_mu": (float, 0.0),
    },
    "windows": {
        name: (float, getattr(Windows(), name)) for name in ("gather", "join", "share", "collect", "unmask", "grace")
    },
}


def load(path: Path) -> AggregatorConfig:
    """Read an aggregator's configuration.

    Raises:
        UsageError: it is not TOML, or a key is unknown, missing or of the wrong type; the message names it.
    """
    try:
        found = tomllib.loads(read_limited(path, LARGEST).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
    for table, keys in found.items():
        if table not in _SHAPE or not isinstance(keys, dict):
            raise UsageError(f"{path}: [{table}] is unknown; the tables are {', '.join(_SHAPE)}")
        for key in keys:
            if key not in _SHAPE[table]:
                raise UsageError(f"{path}: [{table}] {key} is unknown; use {', '.join(_SHAPE[table])}")
    values = {table: {key: _value(found, path, table, key) for key in keys} for table, keys in _SHAPE.items()}
    folder, job, rates = path.resolve().parent, values["job"], values["training"]
    return AggregatorConfig(
        fleet=folder / values["aggregator"]["fleet"],
        state=folder / values["aggregator"]["state"],
        bundle=folder / job["bundle"],
        host=values["broker"]["host"],
        port=values["broker"]["port"],
        job=job["name"],
        task=job["task"],
        rounds=job["rounds"],
        devices=job["devices"],
        cohorts=job["cohorts"],
        floor=job["floor"],
        secure_aggregation=job["secure_aggregation"],
        max_attempts=job["max_attempts"],
        training=Training(
            epochs=rates["epochs"],
            batch_size=rates["batch_size"],
            learning_rate=round(rates["learning_rate"] * MICRO),
            momentum=round(rates["momentum"] * MICRO),
            proximal=round(rates["proximal_mu"] * MICRO),
        ),
        windows=Windows(**values["windows"]),
    )


def _value(found: Mapping[str, Any], path: Path, table: str, key: str) -> Any:
    kind, default = _SHAPE[table][key]
    item = found.get(table, {}).get(key, default)
    if kind is float and type(item) is int:
        item = float(item)
    if type(item) is not kind:
        raise UsageError(f"{path}: [{table}] {key} is missing or not a {kind.__name__}")
    return item
