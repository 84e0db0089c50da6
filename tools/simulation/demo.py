"""The demo: a broker, an aggregator and device processes train on real data over MQTT while devices are killed.

Plain FedAvg and the centralized baseline run first, in this process and timed apart.
"""

import dataclasses

import numpy as np

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import AccordError, UsageError
from accord.prg import digest
from accord.runtimes import open_runtime
from accord.secagg.graph import standard
from accord.update.snapshot import decode
from aggregator.blobs import BLOBS, Blobs
from aggregator.registry import Registry
from aggregator.store import Store, database_of
from simulation import baselines, chaos, datasets
from simulation.demo_rounds import STATISTICS, Audience, DemoRounds
from simulation.demo_settings import FLOOR, DemoSettings
from simulation.history import DeviceRow, History
from simulation.metrics import evaluate
from simulation.partition import Partition, deal, parse_scheme
from simulation.rig import JOB, Rig, RigSettings


def load(settings: DemoSettings) -> tuple[datasets.Dataset, str]:
    """Return the data and what there is to say about it: Fashion-MNIST, or digits where it is not installed."""
    try:
        data = datasets.load("fashion-mnist", rows=settings.rows, test_rows=settings.test_rows)
    except UsageError as error:
        return datasets.load("digits-images"), f"Fashion-MNIST is not here ({error}): the demo falls back to digits"
    return data, f"Fashion-MNIST, the first {len(data.y_train):,} rows"


class Demo:
    """One demo, from data to history.

    Args:
        settings: what to run.
        audience: who is told.
    """

    def __init__(self, settings: DemoSettings, audience: Audience) -> None:
        self.settings, self._audience = settings, audience
        self._entropy = SeededEntropy(settings.seed)
        data, said = load(settings)
        audience.say(said)
        self.task = data.task()
        encoded = data.encode(self.task)
        self.partition: Partition = deal(
            encoded, parse_scheme(settings.partition), settings.devices, self._entropy, kind=self.task.kind
        )
        audience.say(self.partition.scheme)
        self._shape = data.row_shape
        self._neighbours, self._threshold = standard(settings.devices)

    def run(self) -> History:
        """Run the baselines and the fleet, and return the history."""
        from quantize import make_bundle  # noqa: PLC0415 - onnx is loaded only now

        settings, names = self.settings, tuple(d.device for d in self.partition.devices)
        rig = Rig(
            settings.state,
            RigSettings(
                broker=settings.broker,
                devices=settings.devices,
                rounds=settings.rounds,
                floor=FLOOR,
                learning_rate=settings.learning_rate,
                momentum=settings.momentum,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
            ),
            names,
        )
        try:
            bundle = make_bundle(
                "cnn:small",
                self._shape,
                self.task.outputs,
                "softmax",
                settings.batch_size,
                self._entropy.child("model"),
                rig.fleet.publisher(),
            )
            fedavg, centralized = self._baselines(bundle)
            rig.prepare(bundle, {d.device: d for d in self.partition.devices})
            self._audience.say(
                f"profile standard: {settings.devices} devices on a complete graph of {self._neighbours} neighbours, "
                f"{self._threshold} must answer; the devices' own floor is {FLOOR}; broker {settings.broker}"
            )
            rounds = self._fleet(rig)
            self._audience.say(f"sums: {rounds.exact} of {rounds.exact} exact, by the rows counted inside the masks")
            return self._history(rig, bundle, rounds, fedavg, centralized)
        finally:
            rig.close()

    def _baselines(self, bundle: bytes) -> tuple[baselines.Curve, baselines.Curve]:
        settings = self.settings
        opened = read_bundle(bundle, limit=len(bundle), publisher=None)
        runtime = open_runtime(opened)
        every = np.concatenate([d.x_train for d in self.partition.devices])
        mean, deviation = every.mean(axis=(0, 2, 3), keepdims=True), every.std(axis=(0, 2, 3), keepdims=True)
        scaled = [
            dataclasses.replace(d, x_train=(d.x_train - mean) / deviation, x_test=(d.x_test - mean) / deviation)
            for d in self.partition.devices
        ]
        training = baselines.Training(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
        )
        self._audience.say("baselines: plain float FedAvg and one model on all rows")
        fedavg = baselines.fedavg(
            runtime,
            opened.params,
            scaled,
            kind=self.task.kind,
            training=training,
            rounds=settings.rounds,
            devices_per_round=settings.devices,
            entropy=self._entropy.child("fedavg"),
        )
        centralized = baselines.centralized(
            runtime,
            opened.params,
            scaled,
            kind=self.task.kind,
            training=training,
            rounds=settings.rounds,
            devices_per_round=settings.devices,
            entropy=self._entropy.child("centralized"),
        )
        for curve in (fedavg, centralized):
            self._audience.say(f"{curve.name}: accuracy {curve.final.accuracy:.3f} in {curve.seconds:.1f} s")
        return fedavg, centralized

    def _fleet(self, rig: Rig) -> DemoRounds:
        """Start the processes, and return what the aggregator told of its rounds until it ended."""
        settings = self.settings
        rig.start_broker()
        late = rig.names[-1] if settings.chaos and settings.devices > FLOOR + 1 and settings.rounds > 2 else ""
        planned = chaos.Schedule()
        if settings.chaos:
            needed = max(FLOOR, self._threshold)
            planned = chaos.schedule(rig.names, STATISTICS + 1, settings.rounds, needed)
        watcher = chaos.Watcher(planned, rig.journals, rig.kill_device, rig.start_device, rig.kill_aggregator)
        for name in rig.names:
            if name != late:
                rig.start_device(name)
        held = {device.device: len(device.y_test) for device in self.partition.devices}
        rounds = DemoRounds(rig, self._audience, kind=self.task.kind, held=held, planned=planned, late=late)
        watcher.start()
        try:
            rounds.take(rig.facts())
        finally:
            watcher.stop()
        if len(rounds.rows) < settings.rounds:
            log = rig.folder / "aggregator.log"
            raise AccordError(f"the aggregator ended after {len(rounds.rows)} rounds: look at {log}")
        return rounds

    def _history(
        self,
        rig: Rig,
        bundle: bytes,
        rounds: DemoRounds,
        fedavg: baselines.Curve,
        centralized: baselines.Curve,
    ) -> History:
        opened = read_bundle(bundle, limit=len(bundle), publisher=None)
        runtime = open_runtime(opened)
        data = _newest(rig)
        snapshot = decode(data, runtime.layout, self._shape[0])
        x = np.concatenate([d.x_test for d in self.partition.devices])
        y = np.concatenate([d.y_test for d in self.partition.devices])
        final = evaluate(
            self.task.kind, y, runtime.predict(snapshot.params, runtime.prepared(snapshot.scaling.inputs(x)))
        )
        return History(
            kind=self.task.kind,
            rounds=tuple(rounds.rows),
            final=final,
            devices=tuple(
                DeviceRow(
                    device=d.device,
                    train_rows=len(d.y_train),
                    test_rows=len(d.y_test),
                    participations=rounds.included[d.device],
                    dropouts=rounds.dropped[d.device],
                )
                for d in self.partition.devices
            ),
            model_digest=digest(data).hex(),
            fedavg=fedavg,
            centralized=centralized,
        )


def _newest(rig: Rig) -> bytes:
    """Return the newest version's snapshot from the aggregator's registry."""
    store = Store(database_of(rig.state))
    registry = Registry(Blobs(rig.state / BLOBS))
    with store.read() as connection:
        head = registry.head(connection, JOB)
    store.close()
    if head is None:
        raise AccordError(f"the aggregator registered no model: look at {rig.folder / 'aggregator.log'}")
    return registry.blobs.get(head.version.params)
