"""Training runs that measure what ways to send an update cost, and what they reach; several at a time, each kept.

A case is data, a model and a fleet. `float32` of a case is plain FedAvg without the protocol, which sends and fetches
every parameter as it is; all other ways run through it. Both are measured on all test rows after each round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from accord.entropy import SeededEntropy
from accord.update.snapshot import Snapshot
from aggregator.update_choice import UpdateChoice
from simulation import baselines, datasets, evaluation, models, simulate
from simulation.partition import deal, parse_scheme

FLOAT32 = "float32"
FLOAT32_BYTES = 4.0
LAST = 10
"""Rounds at the end whose mean is a run's accuracy."""
BYTES = ("payload_bytes_up", "payload_bytes_down", "control_bytes_up", "control_bytes_down")
VERSIONS = "versions_advanced"
"""That a device came forward in a round."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained: the options are those of `simulate`."""

    name: str
    data: str
    rows: int | None
    test_rows: int | None
    model: str
    options: dict[str, Any]

    @property
    def dataset(self) -> datasets.Dataset:
        """Its rows."""
        return datasets.load(self.data, rows=self.rows, test_rows=self.test_rows)


DIGITS = Case(
    name="digits",
    data="digits",
    rows=None,
    test_rows=None,
    model="mlp:256,128",
    options={
        "devices": 100,
        "partition": "dirichlet:0.3",
        "rounds": 80,
        "devices_per_round": 25,
        "local_epochs": 8,
        "batch_size": 32,
        "lr": 0.2,
    },
)
"""About 14 rows per device: 8 passes are 8 steps. 50,826 parameters."""
FASHION = Case(
    name="fashion",
    data="fashion-mnist",
    rows=20_000,
    test_rows=4_000,
    model="cnn:medium",
    options=DIGITS.options | {"rounds": 60, "local_epochs": 1, "lr": 0.05},
)
"""108,618 parameters."""
SELDOM = Case(
    name="seldom",
    data="fashion-mnist",
    rows=20_000,
    test_rows=4_000,
    model="mlp:64",
    options=DIGITS.options | {"devices": 2_000, "devices_per_round": 50, "max_participations": 3, "lr": 0.05},
)
"""Ten rows per device, which takes part twice on average and at most 3 times. 50,890 parameters."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run."""

    case: Case
    update: str
    seed: int = 0
    dropout: float = 0.0
    feedback: str = "auto"
    masks: bool = True

    @property
    def name(self) -> str:
        """What tells it from other runs."""
        parts = (self.case.name, self.case.options["rounds"], self.update, self.seed, self.dropout, self.feedback)
        return json.dumps([*parts, self.masks])


def carried_out(run: Run) -> dict[str, Any]:
    """Train once.

    Returns: `accuracy` after each round on all test rows; `parameters`; means over the devices of all rounds of the
    four numbers of bytes; `digest` of the last model.
    """
    return _plain(run) if run.update == FLOAT32 else _through_the_protocol(run)


def _through_the_protocol(run: Run) -> dict[str, Any]:
    case, data = run.case, run.case.dataset
    task, measured, parameters = data.task(), list[float](), list[int]()
    encoded = data.encode(task)
    entropy = SeededEntropy(run.seed)
    options = case.options
    held = deal(encoded, parse_scheme(options["partition"]), options["devices"], entropy, kind=task.kind).devices
    runtime = models.make(case.model, data.row_shape, task, options["batch_size"], entropy.child("model")).runtime

    def released(_round: int, model: Snapshot) -> None:
        found = evaluation.pooled(task.kind, "none", runtime, model, held)
        measured.append(found.accuracy or 0.0)
        parameters.append(model.params.size)

    history = simulate(
        data,
        released=released,
        model=case.model,
        update=run.update,
        feedback=run.feedback,
        seed=run.seed,
        dropout=run.dropout,
        secure_aggregation=run.masks and not UpdateChoice.parse(run.update).open,
        **options,
    )
    rounds = history.rounds
    return {
        "accuracy": measured,
        "parameters": parameters[0],
        "digest": history.model_digest,
        **{name: statistics.fmean(getattr(row, name) for row in rounds) for name in (*BYTES, VERSIONS)},
    }


def _plain(run: Run) -> dict[str, Any]:
    """FedAvg on rows that are scaled as the masked statistics would; those that drop out are not drawn at all."""
    case, data = run.case, run.case.dataset
    task, options = data.task(), run.case.options
    entropy, drawn = SeededEntropy(run.seed), round(options["devices_per_round"] * (1 - run.dropout))
    dealt = deal(data.encode(task), parse_scheme(options["partition"]), options["devices"], entropy, kind=task.kind)
    made = models.make(case.model, data.row_shape, task, options["batch_size"], entropy.child("model"))
    curve = baselines.fedavg(
        made.runtime,
        made.bundle.params,
        baselines.standardised(dealt.devices),
        kind=task.kind,
        training=baselines.Training(
            epochs=options["local_epochs"], batch_size=options["batch_size"], learning_rate=options["lr"]
        ),
        rounds=options["rounds"],
        devices_per_round=drawn,
        entropy=entropy,
    )
    parameters = made.bundle.params.size
    return {
        VERSIONS: options["devices"] / drawn,
        "accuracy": [point.evaluation.accuracy or 0.0 for point in curve.points],
        "parameters": parameters,
        "digest": "",
        **dict.fromkeys(BYTES[:2], FLOAT32_BYTES * parameters),
        **dict.fromkeys(BYTES[2:], 0.0),
    }


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `all_of`."""
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs at a time (default %(default)s)")
    parser.add_argument("--kept", type=Path, metavar="FILE", help="finished runs, which are not done again")


def all_of(runs: Sequence[Run], *, workers: int, kept: Path | None) -> list[dict[str, Any]]:
    """Carry out runs, `workers` at a time, and return what each gave, in order; stderr is told about each that ended.

    Args:
        runs: what to do.
        workers: processes, each of one thread.
        kept: a file with a line for each finished run, which is not done again; None keeps nothing.
    """
    found = dict(_read(kept)) if kept is not None and kept.exists() else {}
    waiting = [run for name, run in {run.name: run for run in runs}.items() if name not in found]
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # processes begin with them
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        started = time.perf_counter()
        futures: dict[Future[dict[str, Any]], Run] = {pool.submit(carried_out, run): run for run in waiting}
        for number, future in enumerate(as_completed(futures), 1):
            run, result = futures[future], future.result()
            found[run.name] = result
            if kept is not None:
                with kept.open("a") as file:
                    file.write(json.dumps([run.name, result]) + "\n")
            so_far = f"{number} of {len(waiting)}, {time.perf_counter() - started:.0f} s"
            print(f"{so_far}: {run.name} {late(result):.4f}", file=sys.stderr, flush=True)
    return [found[run.name] for run in runs]


def late(result: dict[str, Any]) -> float:
    """Return a run's accuracy: the mean of its last rounds."""
    return statistics.fmean(result["accuracy"][-LAST:])


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in path.read_text().splitlines():
        name, result = json.loads(line)
        yield name, result
