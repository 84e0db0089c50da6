"""What a person asks of a job, in the tables of a TOML file and as the JSON object that the store keeps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accord.bundle.manifest import REGRESSIONS
from accord.errors import UsageError
from accord.ids import checked_name
from accord.optimisers import STEADY, Schedule
from accord.plan import CLASSIC, DEFAULT_GATE, LARGEST_COHORT, MICRO, OFF, PICO, SMALLEST_COHORT, STRICT, Task, Training
from accord.secagg.planner import AUTO, FLEET_FLOOR, PROFILES
from aggregator.job_settings import JobSettings
from aggregator.releases import RELEASE_BITS
from aggregator.round_values import Windows
from aggregator.strategies.robust import NORM_GATE, strategy
from aggregator.update_choice import DEFAULT, UpdateChoice

WINDOWS = ("gather", "join", "share", "collect", "confirm", "unmask", "grace")
LOSSES: Mapping[str, tuple[str, ...]] = {
    "classification": ("softmax",),
    "binary": ("binary",),
    "regression": REGRESSIONS,
}
"""The losses that a bundle for each task may be made with."""
Shape = Mapping[str, Mapping[str, tuple[type, Any]]]

_KINDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
}
SHAPE: Shape = {
    "job": {
        "name": (str, "job"),
        "bundle": (str, None),
        "task": (str, "classification"),
        "rounds": (int, 10),
        "devices": (int, None),
        "devices_per_round": (int, 0),
        "cohorts": (int, 1),
        "floor": (int, 0),
        "secure_aggregation": (bool, True),
        "max_attempts": (int, 3),
        "export_gate": (float, DEFAULT_GATE / MICRO),
        "profile": (str, AUTO),
        "preset": (str, "fleet"),
        "corrupt": (float, 0.1),
        "dropout": (float, 0.0),
        "largest_cohort": (int, 100),
        "complete_up_to": (int, 100),
        "merge": (str, "mean"),
        "norm_gate": (float, NORM_GATE),
        "release_bits": (int, RELEASE_BITS),
        "update": (str, DEFAULT),
        "feedback": (str, AUTO),
        "keys": (str, CLASSIC),
    },
    "training": {
        "epochs": (int, 1),
        "batch_size": (int, 32),
        "learning_rate": (float, 0.05),
        "momentum": (float, 0.0),
        "proximal_mu": (float, 0.0),
        "optimiser": (str, "sgd"),
        "beta1": (float, 0.9),
        "beta2": (float, 0.999),
        "epsilon": (float, 1e-8),
        "weight_decay": (float, 0.0),
        "clip_norm": (float, 0.0),
        "warmup_steps": (int, 0),
        "schedule": (str, "constant"),
        "decay_every": (int, 10),
        "decay_factor": (float, 0.1),
    },
    "windows": {name: (float, getattr(Windows(), name)) for name in WINDOWS},
}
"""Each key with its type and its default; None means that it has to be given."""


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """One job; `bundle` is a path, or the hexadecimal digest of a blob once the store keeps the job.

    Raises:
        UsageError: a value is out of its range.
        CodecError: a value can't be carried by a plan.
    """

    name: str
    bundle: str
    task: str
    rounds: int
    devices: int
    devices_per_round: int
    cohorts: int
    floor: int
    secure_aggregation: bool
    max_attempts: int
    export_gate: float
    training: Training
    windows: Windows
    schedule: Schedule = STEADY
    profile: str = AUTO
    preset: str = "fleet"
    corrupt: float = 0.1
    dropout: float = 0.0
    largest_cohort: int = 100
    complete_up_to: int = 100
    merge: str = "mean"
    norm_gate: float = NORM_GATE
    release_bits: int = RELEASE_BITS
    update: str = DEFAULT
    feedback: str = AUTO
    keys: str = CLASSIC

    def __post_init__(self) -> None:
        checked_name(self.name, "job")
        if not 1 <= self.max_attempts <= 1_000:
            raise UsageError(f"[job] max_attempts {self.max_attempts} is not from 1 to 1000")
        if not 0.0 <= self.export_gate <= 1.0:
            raise UsageError(f"[job] export_gate {self.export_gate} is not from 0 (ask for nothing) to 1")
        if any(getattr(self.windows, name) < 0 for name in WINDOWS):
            raise UsageError("[windows] are 0 or more seconds")
        if self.profile not in (AUTO, *PROFILES):
            raise UsageError(f"[job] profile {self.profile!r} is not one of {', '.join((AUTO, *PROFILES))}")
        if self.profile == STRICT and not self.secure_aggregation:
            raise UsageError("[job] profile strict needs masks: leave secure_aggregation at true")
        strategy(self.merge, self.norm_gate)
        if self.floor and not SMALLEST_COHORT <= self.floor <= LARGEST_COHORT:
            raise UsageError(f"[job] floor {self.floor} is not from {SMALLEST_COHORT} to {LARGEST_COHORT}")
        self.settings(outputs=1)

    def settings(self, outputs: int, *, gated: bool = False) -> JobSettings:
        """Return the engine's settings for a model with so many outputs, which is exported to int8 if it is `gated`."""
        gate = round(self.export_gate * MICRO) if gated else 0
        return JobSettings(
            rounds=self.rounds,
            devices=self.devices,
            devices_per_round=self.devices_per_round or self.devices,
            cohorts=self.cohorts,
            floor=self.floor or (SMALLEST_COHORT if self.preset == "sites" else FLEET_FLOOR),
            training=self.training,
            task=Task(
                kind=self.task,
                outputs=outputs,
                target_exponent=0,
                transform="none",
                gate=gate,
            ),
            profile=self.profile if self.secure_aggregation else OFF,
            schedule=self.schedule,
            preset=self.preset,
            corrupt=self.corrupt,
            dropout=self.dropout,
            largest_cohort=self.largest_cohort,
            complete_up_to=self.complete_up_to,
            merge=self.merge,
            release_bits=self.release_bits,
            update=UpdateChoice.parse(self.update, self.feedback),
            keys=self.keys,
        )

    def check_bundle(self, loss: str, batch: int) -> None:
        """Refuse a bundle that no device could train as this job asks.

        Args:
            loss: what the bundle was made for.
            batch: the largest number of rows of one gradient of it.

        Raises:
            UsageError: the loss is another task's, or batches are larger than the bundle's.
        """
        if loss not in LOSSES[self.task]:
            wished = " or ".join(LOSSES[self.task])
            raise UsageError(f"[job] task {self.task} needs a bundle made with --loss {wished}; this one has {loss}")
        if self.training.batch_size > batch:
            raise UsageError(
                f"[training] batch_size {self.training.batch_size} is more than the {batch} rows that the bundle was "
                f"made for: use less, or make it with --batch {self.training.batch_size}"
            )

    def to_json(self, bundle: str) -> dict[str, Any]:
        """Return the tables with the bundle's digest in place of its path."""
        job = {name: getattr(self, name) for name in SHAPE["job"]} | {"bundle": bundle}
        rates = {
            "epochs": self.training.epochs,
            "batch_size": self.training.batch_size,
            "learning_rate": self.training.learning_rate / MICRO,
            "momentum": self.training.momentum / MICRO,
            "proximal_mu": self.training.proximal / MICRO,
            "optimiser": self.training.optimiser,
            "beta1": self.training.beta1 / MICRO,
            "beta2": self.training.beta2 / MICRO,
            "epsilon": self.training.epsilon / PICO,
            "weight_decay": self.training.weight_decay / MICRO,
            "clip_norm": self.training.clip_norm / MICRO,
            "warmup_steps": self.training.warmup_steps,
            "schedule": self.schedule.kind,
            "decay_every": self.schedule.decay_every,
            "decay_factor": self.schedule.decay_factor,
        }
        return {"job": job, "training": rates, "windows": {name: getattr(self.windows, name) for name in WINDOWS}}


def from_tables(found: Mapping[str, Any], where: str) -> JobConfig:
    """Return the job in the tables `job`, `training` and `windows`.

    Args:
        found: other tables in it are not looked at.
        where: the file's name, for errors.

    Raises:
        UsageError: a key is unknown, missing or of another type; the message names it.
    """
    values = tables(found, SHAPE, where)
    job, rates = values["job"], values["training"]
    return JobConfig(
        **job,
        training=Training(
            epochs=rates["epochs"],
            batch_size=rates["batch_size"],
            learning_rate=_integer(rates["learning_rate"], MICRO),
            momentum=_integer(rates["momentum"], MICRO),
            proximal=_integer(rates["proximal_mu"], MICRO),
            optimiser=rates["optimiser"],
            beta1=_integer(rates["beta1"], MICRO),
            beta2=_integer(rates["beta2"], MICRO),
            epsilon=_integer(rates["epsilon"], PICO),
            weight_decay=_integer(rates["weight_decay"], MICRO),
            clip_norm=_integer(rates["clip_norm"], MICRO),
            warmup_steps=rates["warmup_steps"],
        ),
        schedule=Schedule(kind=rates["schedule"], decay_every=rates["decay_every"], decay_factor=rates["decay_factor"]),
        windows=Windows(**values["windows"]),
    )


def _integer(rate: float, unit: int) -> int:
    if not math.isfinite(rate):
        raise UsageError(f"[training] {rate} is no rate: use a number")
    return round(rate * unit)


def tables(found: Mapping[str, Any], shape: Shape, where: str) -> dict[str, dict[str, Any]]:
    """Return the values of every key of `shape`, with defaults filled in.

    Raises:
        UsageError: a key is unknown, missing or of another type; the message names it.
    """
    for table in shape:
        held = found.get(table, {})
        if not isinstance(held, Mapping):
            raise UsageError(f"{where}: [{table}] is a table")
        for key in held:
            if key not in shape[table]:
                raise UsageError(f"{where}: [{table}] {key} is unknown; use {', '.join(shape[table])}")
    return {
        table: {key: _value(found, where, table, key, kind) for key, kind in keys.items()}
        for table, keys in shape.items()
    }


def _value(found: Mapping[str, Any], where: str, table: str, key: str, kind: tuple[type, Any]) -> Any:
    wanted, default = kind
    item = found.get(table, {}).get(key, default)
    if wanted is float and type(item) is int:
        item = float(item)
    if type(item) is not wanted:
        raise UsageError(f"{where}: [{table}] {key} is {'missing' if item is None else f'not {_KINDS[wanted]}'}")
    return item
