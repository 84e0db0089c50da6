"""Flower-style clients, unchanged, as devices of an Accord fleet: duck-typed `get_parameters`, `fit` and `evaluate`.

A parameter schema stands in for the bundle; what a client trains with is its own business.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from accord import cbor
from accord.entropy import SeededEntropy
from accord.errors import LocalProtocolError, UsageError
from accord.link.memory import Faults
from accord.plan import STANDARD, Plan
from accord.plan import Task as PlanTask
from accord.prg import digest
from accord.runtimes.initial import exponents
from accord.tensors import Layout, Vector
from accord.update.pipeline import Contribution
from accord.update.snapshot import Snapshot, decode, unscaled
from aggregator.job import Job
from aggregator.strategies.robust import NORM_GATE, strategy
from simulation.fleet import SMALLEST, SimulatedFleet
from simulation.history import DeviceRow, History
from simulation.metrics import Evaluation
from simulation.notes import Notes, Said
from simulation.runner import Released, Runner, Told
from simulation.settings import checked

Arrays = list[npt.NDArray[Any]]
LARGEST_WEIGHT = 65_535
"""Rows from which a client weighs no more: all counts up to it are exact."""


class FlowerClient(Protocol):
    """What Flower's `NumPyClient` looks like from outside."""

    def get_parameters(self, config: dict[str, Any]) -> Arrays:
        """Return the current parameters as a list of arrays."""
        ...

    def fit(self, parameters: Arrays, config: dict[str, Any]) -> tuple[Arrays, int, dict[str, Any]]:
        """Train from `parameters` and return the new ones, the number of examples, and metrics."""
        ...

    def evaluate(self, parameters: Arrays, config: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
        """Return the loss, the number of examples, and metrics such as `accuracy`."""
        ...


def layout_of_arrays(arrays: Sequence[npt.NDArray[Any]]) -> Layout:
    """Return the layout of a list of arrays, named by their places.

    Raises:
        UsageError: an array does not hold floats, or there are none.
    """
    for place, array in enumerate(arrays):
        if np.asarray(array).dtype.kind != "f":
            raise UsageError(f"parameter {place} holds {np.asarray(array).dtype}, not floats")
    return Layout(tuple((str(place), tuple(np.shape(array))) for place, array in enumerate(arrays)))


class FlowerWorker:
    """Does a plan's work with one client.

    Args:
        client: the user's object.
        layout: of its parameters.
    """

    def __init__(self, client: FlowerClient, layout: Layout) -> None:
        self.examples = 0
        self.test_examples = 0
        self.told_accuracy = False
        self._client, self._layout = client, layout

    def work(self, plan: Plan, params: bytes) -> Contribution:
        """Fit and evaluate.

        Raises:
            UsageError: the client returned other shapes.
            LocalProtocolError: the client raised, or returned NaN.
        """
        start = decode(params, self._layout, 0).params
        config = {"server_round": plan.round, "local_epochs": plan.training.epochs}
        try:
            figures = self._evaluated(start, config)
            if plan.purpose == "evaluate":
                return Contribution(rows=0, figures=figures)
            arrays, examples, _ = self._client.fit(self._arrays(start), config)
        except Exception as error:  # the client's own code may raise anything: the round goes on without it
            raise LocalProtocolError(f"the client failed: {type(error).__name__}: {error}") from error
        self.examples = int(examples)
        trained = self._layout.flatten({str(place): array for place, array in enumerate(arrays)})
        return Contribution(rows=self.examples, delta=trained - start, figures=figures)

    def _arrays(self, vector: Vector) -> Arrays:
        return [view.copy() for view in self._layout.views(vector).values()]

    def _evaluated(self, start: Vector, config: dict[str, Any]) -> Mapping[str, float]:
        loss, examples, metrics = self._client.evaluate(self._arrays(start), config)
        self.test_examples = int(examples)
        self.told_accuracy = self.told_accuracy or "accuracy" in metrics
        correct = float(metrics.get("accuracy", 0.0)) * examples
        return {"count": examples, "loss": max(0.0, float(loss)) * examples, "correct": correct}


def simulate_clients(
    clients: Sequence[FlowerClient],
    *,
    told: Told,
    released: Released,
    said: Said,
    faults: Faults | None,
    **options: object,
) -> History:
    """Train over Flower-style clients, one per device, and return the history; see `simulate`.

    Raises:
        UsageError: fewer than three clients, or parameters that can't be summed.
    """
    settings, notes = checked(data="clients", **options), Notes(said)
    if len(clients) < SMALLEST:
        raise UsageError(f"{len(clients)} clients: a secure sum needs at least {SMALLEST}")
    arrays = [np.asarray(array) for array in clients[0].get_parameters({})]
    layout = layout_of_arrays(arrays)
    start = Snapshot(
        params=layout.flatten({str(place): array for place, array in enumerate(arrays)}), scaling=unscaled(0)
    )
    workers = {f"dev-{at:03d}": FlowerWorker(client, layout) for at, client in enumerate(clients)}
    schema = cbor.encode([[name, list(shape)] for name, shape in layout.tensors])
    per_round = min(settings.devices_per_round, len(clients))
    secured = settings.secured(per_round)
    if settings.profile != STANDARD:
        notes.keep(f"profile {secured.profile}, as {secured.why}")
    job = Job(
        settings=settings.job(
            devices=len(clients),
            per_round=per_round,
            floor=SMALLEST,
            profile=secured.profile,
            task=PlanTask(kind="classification", outputs=1, target_exponent=0, transform="none"),
        ),
        layout=layout,
        exponents=exponents(layout, start.params),
        snapshot=start,
        columns=0,
        strategy=strategy(settings.merge, NORM_GATE),
        statistics=False,
        largest_weight=LARGEST_WEIGHT,
    )
    fleet = SimulatedFleet(
        workers=workers,
        layout=layout,
        params=start.encode(),
        bundle=schema,
        entropy=SeededEntropy(settings.seed),
        faults=faults,
        dropout=settings.dropout,
        since=job.advances.since,
    )
    runner = Runner(
        fleet=fleet,
        job=job,
        kind="classification",
        names=list(workers),
        most=settings.max_participations,
        told=told,
        released=released,
        notes=notes,
    )
    rows = runner.run()
    if not any(w.told_accuracy for w in workers.values()):
        notes.keep("no client reported `accuracy`")
    return History(
        kind="classification",
        rounds=tuple(rows),
        final=rows[-1].evaluation if rows else Evaluation(rows=0),
        devices=tuple(
            DeviceRow(
                device=name,
                train_rows=worker.examples,
                test_rows=worker.test_examples,
                participations=fleet.devices[name].participations,
                dropouts=runner.dropouts[name],
            )
            for name, worker in workers.items()
        ),
        model_digest=digest(job.snapshot.encode()).hex(),
        notes=tuple(notes.kept),
    )
