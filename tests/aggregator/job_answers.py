"""A job without a fleet, and what its rounds may bring: totals of honest cohorts and of lying ones."""

import dataclasses
from typing import Any

import numpy as np

from accord.plan import Task, Training
from accord.tensors import Layout
from accord.update.pipeline import BOUNDS, POWERS, ROW_POWERS, Total
from accord.update.snapshot import Snapshot, unscaled
from aggregator.coordinator_values import Closed
from aggregator.job import Job
from aggregator.job_settings import JobSettings
from aggregator.job_step import Step
from aggregator.strategies.fedavg import FedAvg

LAYOUT = Layout((("w", (2, 100)), ("b", (100,))))
CLASSES = Task(kind="classification", outputs=2, target_exponent=0, transform="none")
SETTINGS = JobSettings(
    rounds=3,
    devices=40,
    devices_per_round=10,
    cohorts=2,
    floor=3,
    training=Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
    task=CLASSES,
    profile="standard",
)


def job(*, statistics: bool = True, **changes: Any) -> Job:
    return Job(
        settings=dataclasses.replace(SETTINGS, **changes),
        layout=LAYOUT,
        exponents=(-3, -5),
        snapshot=Snapshot(params=np.zeros(LAYOUT.size, np.float32), scaling=unscaled(2)),
        columns=2,
        strategy=FedAvg(),
        statistics=statistics,
    )


def closed(*totals: Total, devices: int = 10) -> Closed:
    names = tuple(f"dev-{i}" for i in range(devices))
    return Closed(
        round=1,
        attempt=1,
        plan_digest=bytes(32),
        previous=bytes(32),
        transcript=bytes(32),
        cohorts=(),
        totals=totals,
        included=names,
        dropped=(),
        recovered=(),
        lost_cohorts=(),
    )


def trained(w: float, b: float, *, saturated: int = 0, weight: int = 10) -> Total:
    mean = np.concatenate([np.full(200, w), np.full(100, b)]).astype(np.float32)
    figures = {"count": [4.0], "loss": [2.0], "correct": [3.0]}
    return Total(figures=figures, mean=mean, weight=weight, saturated=saturated)


def exponents(of: Job) -> tuple[int, ...]:
    request = of.request()
    assert request is not None
    return request.fixed.exponents


def powers(columns: int, power: int, rows: int) -> Total:
    histogram = np.zeros((columns, POWERS))
    histogram[:, BOUNDS.index(power) + 1] = 1_000  # the first bin is for zeros
    counts = np.zeros(ROW_POWERS)
    counts[rows.bit_length()] = 10
    return Total(figures={"count": [1_000.0], "powers": histogram.ravel().tolist(), "rows": counts.tolist()})


def moments(columns: int) -> Total:
    figures = {name: [250.0] * columns for name in ("positive", "squared")}
    return Total(figures={"count": [1_000.0], "negative": [0.0] * columns, **figures})


def stepped(one: Job, *totals: Total, devices: int = 10) -> Step:
    return one.closed(closed(*totals, devices=devices))
