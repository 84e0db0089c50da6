"""`simulate`: the real protocol on one's own partitioned data, in one process, with a history to look at.

Every device has a session, keys and masks of its own; only the network, the clock and the entropy are stand-ins. The
entropy is seeded, so a simulation protects nobody's data: it shows what a fleet would do.
"""

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from accord.entropy import Entropy, SeededEntropy
from accord.errors import UsageError
from accord.link.memory import Faults
from accord.plan import DEFAULT_GATE, STANDARD
from accord.plan import Task as PlanTask
from accord.prg import digest
from accord.update.snapshot import Snapshot, columns_of, unscaled
from aggregator.job import Job
from aggregator.strategies.robust import NORM_GATE, strategy
from edge_sdk.rows import Rows
from edge_sdk.trainer import Trainer
from edge_sdk.transforms import transformed
from simulation import datasets, evaluation, models
from simulation.fleet import SimulatedFleet
from simulation.flower import FlowerClient, simulate_clients
from simulation.history import DeviceRow, History
from simulation.notes import Notes, Said, counted
from simulation.partition import DeviceData, Partition, by_owner, deal, parse_scheme
from simulation.runner import Released, Runner, Told
from simulation.settings import SimulationSettings, checked
from simulation.task import Task

FLOOR = 3


def simulate(
    data: str | Path | datasets.Dataset | None = None,
    *,
    clients: Sequence[FlowerClient] | None = None,
    told: Told = lambda _row: None,
    released: Released = lambda _round, _model: None,
    said: Said = lambda _sentence: None,
    faults: Faults | None = None,
    **options: object,
) -> History:
    """Train a model over simulated devices and return the history.

    Args:
        data: `digits`, `breast-cancer`, `fashion-mnist`, a path to an `.npz` file, or a `Dataset`.
        clients: instead of data, one Flower-style client per device: objects with `get_parameters`, `fit`, `evaluate`.
        told: called with each round as soon as it has closed.
        released: called with the number of each training round that gave a new model, and with the model: to
            measure it on rows of one's own, for instance, with `evaluation.pooled`.
        said: called with each sentence that a person should see, as it comes up: what was inferred, clamped or left
            out, and what is under way.
        faults: how the network misbehaves; None means not at all.
        options: the command line's, with underscores: `devices`, `partition`, `model`, `task`, `rounds`,
            `devices_per_round`, `local_epochs`, `batch_size`, `lr`, `momentum`, `dropout`, `cohorts`, `seed`,
            `secure_aggregation` (True or False) and others of `SimulationSettings`.

    Raises:
        UsageError: an option or the data can't be used; the message says what to do.
        AccordError: the statistics rounds could not be closed.
    """
    if (data is None) == (clients is None):
        raise UsageError("give either data or clients, such as simulate('digits') or simulate(clients=[...])")
    if clients is not None:
        return simulate_clients(clients, told=told, released=released, said=said, faults=faults, **options)
    if isinstance(data, Path):
        data = str(data)
    if not isinstance(data, str | datasets.Dataset):
        raise UsageError(
            f"data is a {type(data).__name__}: give the name of a data set, the path of a .npz file, or a Dataset"
        )
    settings = checked(data=data if isinstance(data, str) else data.name, **options)
    dataset = datasets.load(data) if isinstance(data, str) else data
    with threadpool_limits(limits=1, user_api="blas"):  # a device's products are small: more threads burn time waiting
        return _Simulation(settings, dataset, faults=faults, told=told, released=released, notes=Notes(said)).run()


class _Simulation:
    """One run, from data to history."""

    def __init__(
        self,
        settings: SimulationSettings,
        dataset: datasets.Dataset,
        *,
        faults: Faults | None,
        told: Told,
        released: Released,
        notes: Notes,
    ) -> None:
        entropy: Entropy = SeededEntropy(settings.seed)
        self.notes = notes
        self.settings = settings
        self.task: Task = dataset.task(settings.task)  # type: ignore[arg-type]
        notes.keep(self.task.sentence)
        encoded = dataset.encode(self.task)
        if settings.target_transform != "none" and self.task.kind != "regression":
            raise UsageError(f"--target-transform {settings.target_transform} is for regression, not {self.task.kind}")
        for y in (encoded.y_train, encoded.y_test) if self.task.kind == "regression" else ():
            transformed(settings.target_transform, y)
        self.partition = self._dealt(encoded, entropy)
        self.dropped = {row.device: row.train + row.test for row in dataset.dropped}
        self.held = [d for d in self.partition.devices if len(d.y_train) or len(d.y_test)]
        self._described()
        runtimes = settings.runtimes.split(",")
        self.model = models.make(
            settings.model,
            dataset.row_shape,
            self.task,
            settings.batch_size,
            entropy.child("model"),
            settings.tier,
            runtimes,
        )
        if len(runtimes) > 1:
            notes.keep(f"devices train in {', '.join(runtimes)} by turns")
        runtime, manifest = self.model.runtime, self.model.bundle.manifest
        columns = columns_of(manifest.input_shape)
        start = Snapshot(params=self.model.bundle.params.copy(), scaling=unscaled(columns))
        workers = {
            d.device: Trainer(
                self.model.runtimes[place % len(runtimes)],
                manifest.input_shape,
                Rows(x_train=d.x_train, y_train=d.y_train, x_test=d.x_test, y_test=d.y_test),
                entropy.child("trainer", d.device),
                scaled=manifest.scaled,
            )
            for place, d in enumerate(self.held)
        }
        per_round = min(settings.devices_per_round, len(self.held))
        if per_round < settings.devices_per_round:
            notes.keep(
                f"--devices-per-round {settings.devices_per_round} is more than there are: {per_round} take part"
            )
        secured = settings.secured(per_round)
        if settings.profile != STANDARD:
            notes.keep(f"profile {secured.profile}, as {secured.why}")
        self.job = Job(
            settings=settings.job(
                devices=len(self.held),
                per_round=per_round,
                floor=FLOOR,
                profile=secured.profile,
                task=PlanTask(
                    kind=self.task.kind,
                    outputs=manifest.outputs,
                    target_exponent=0,
                    transform=settings.target_transform,
                    gate=DEFAULT_GATE if self.model.bundle.infer is not None else 0,
                ),
            ),
            layout=runtime.layout,
            exponents=manifest.exponents,
            snapshot=start,
            columns=columns,
            strategy=strategy(settings.merge, NORM_GATE),
            scaled=manifest.scaled,
        )
        self.fleet = SimulatedFleet(
            workers=workers,
            layout=runtime.layout,
            params=start.encode(),
            bundle=self.model.data,
            entropy=entropy,
            faults=faults,
            dropout=settings.dropout,
            since=self.job.advances.since,
        )
        self.runner = Runner(
            fleet=self.fleet,
            job=self.job,
            kind=self.task.kind,
            names=list(workers),
            most=settings.max_participations,
            told=told,
            released=released,
            notes=notes,
        )

    def _dealt(self, dataset: datasets.Dataset, entropy: Entropy) -> Partition:
        if dataset.c_train is not None:
            return by_owner(dataset)
        return deal(dataset, parse_scheme(self.settings.partition), self.settings.devices, entropy, kind=self.task.kind)

    def _described(self) -> None:
        """Say what is special about the devices, and refuse a fleet that can't sum anything."""
        self.notes.keep(f"rows {self.partition.scheme}")
        parts = (
            ("no rows at all and are left out", self.partition.without_rows),
            (
                "test rows only: they evaluate and weigh nothing",
                tuple(d for d in self.partition.without_training if d not in self.partition.without_rows),
            ),
            ("training rows of one label", self.partition.one_label if self.task.kind != "regression" else ()),
            ("rows left out because a value was not finite", tuple(d for d, n in self.dropped.items() if n)),
        )
        for what, names in parts:
            if names:
                self.notes.keep(counted(names, what))
        if len(self.held) < FLOOR:
            raise UsageError(
                f"{len(self.held)} devices have rows; a secure sum needs at least {FLOOR}, or each would learn the "
                "other's update"
            )
        if len([d for d in self.held if len(d.y_train)]) == 0:
            raise UsageError("no device has rows to train on")

    def run(self) -> History:
        """Run the job's rounds and return the history."""
        self.runner.run()
        return self._history()

    def _history(self) -> History:
        snapshot = self.job.snapshot
        origins = dict(self.partition.origins)
        special = {
            **dict.fromkeys(self.partition.one_label, "one label"),
            **dict.fromkeys(self.partition.without_training, "test rows only"),
            **dict.fromkeys(self.partition.without_rows, "no rows"),
        }
        return History(
            kind=self.task.kind,
            rounds=tuple(self.runner.rows),
            final=evaluation.pooled(
                self.task.kind, self.settings.target_transform, self.model.runtime, snapshot, self.held
            ),
            devices=tuple(self._device(d, origins, special) for d in self.partition.devices),
            model_digest=digest(snapshot.encode()).hex(),
            notes=tuple(self.notes.kept),
        )

    def _device(self, data: DeviceData, origins: dict[str, str], special: dict[str, str]) -> DeviceRow:
        simulated = self.fleet.devices.get(data.device)
        return DeviceRow(
            device=data.device,
            origin=origins[data.device],
            train_rows=len(data.y_train),
            test_rows=len(data.y_test),
            dropped_rows=self.dropped.get(origins[data.device], 0),
            participations=0 if simulated is None else simulated.participations,
            dropouts=self.runner.dropouts.get(data.device, 0),
            notes=(special[data.device],) if data.device in special else (),
        )
