"""The demo: a broker, an aggregator and device processes train on real data over MQTT while devices are killed.

Plain FedAvg and the centralized baseline run first, in this process and timed apart.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import AccordError
from accord.plan import STRICT, Graph
from accord.prg import digest
from accord.runtimes import Runtime, open_runtime
from accord.secagg.graph import rule
from accord.tensors import Vector
from accord.update.snapshot import decode
from aggregator.blobs import BLOBS, Blobs
from aggregator.registry import Registry
from aggregator.store import Store, database_of
from simulation import baselines, chaos
from simulation.columns import kilobytes
from simulation.demo_rounds import Audience, DemoRounds
from simulation.demo_settings import FLOOR, DemoSettings
from simulation.history import CARRIED, DeviceRow, History, RoundRow
from simulation.metrics import evaluate
from simulation.partition import DeviceData, Partition, by_owner, deal, parse_scheme
from simulation.rig import JOB, Rig, RigSettings
from simulation.rig_broker import HURT
from simulation.rig_windows import crowded, windows
from simulation.scenarios import scenario

Rows = npt.NDArray[Any]
PLAIN = "without TLS: on a real network everybody between could read the passwords and log in with them"


class Demo:
    """One demo, from data to history.

    Args:
        settings: what to run.
        audience: who is told.
    """

    def __init__(self, settings: DemoSettings, audience: Audience) -> None:
        self.settings, self._audience = settings, audience
        self._entropy = SeededEntropy(settings.seed)
        self.scenario = scenario(
            settings.scenario,
            rows=settings.rows,
            test_rows=settings.test_rows,
            batch_size=settings.batch_size,
            devices=settings.devices,
        )
        data = self.scenario.data
        audience.say(self.scenario.said)
        self.task = data.task()
        encoded = data.encode(self.task)
        self.partition: Partition = (
            deal(encoded, parse_scheme(settings.partition), settings.devices, self._entropy, kind=self.task.kind)
            if data.c_train is None
            else by_owner(encoded)
        )
        audience.say(self.partition.scheme)
        self._shape = data.row_shape
        self._devices, self._cores = len(self.partition.devices), len(os.sched_getaffinity(0))
        self._statistics = 2
        """Rounds before the first training: what scales rows, and how many there are; or the latter alone."""
        self._neighbours, self._threshold = rule(self._devices, Graph(), settings.profile)

    def run(self) -> History:
        """Run the baselines and the fleet, and return the history."""
        settings, names = self.settings, tuple(d.device for d in self.partition.devices)
        rig = Rig(
            settings.state,
            RigSettings(
                broker=settings.broker,
                devices=self._devices,
                rounds=settings.rounds,
                floor=FLOOR,
                learning_rate=settings.learning_rate,
                momentum=settings.momentum,
                optimiser=settings.optimiser,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                update=settings.update,
                profile=settings.profile,
                keys=settings.keys,
                tls=settings.tls,
                windows=windows(self._devices, self._cores, cluster=settings.broker == "nats"),
            ),
            names,
        )
        try:
            entropy = self._entropy.child("model")
            bundle = self.scenario.bundle(entropy, rig.fleet.publisher())
            self._statistics = 2 if read_bundle(bundle, limit=len(bundle)).manifest.scaled else 1
            fedavg, centralized = self._baselines(self.scenario.plain(entropy, None))
            rig.prepare(bundle, {d.device: d for d in self.partition.devices})
            self._audience.say(
                f"profile {settings.profile}: {self._devices} devices on a complete graph of {self._neighbours} "
                f"neighbours, {self._threshold} must answer; the devices' own floor is {FLOOR}; "
                f"update {settings.update}, keys {settings.keys}; broker {settings.broker}, "
                + ("TLS with a certificate for each device" if settings.tls else PLAIN)
            )
            rounds = self._fleet(rig)
            self._audience.say(f"sums: {rounds.exact} of {rounds.exact} exact, by the rows counted inside the masks")
            self._audience.say(carried([row for row in rounds.rows if not row.bytes_at_least] or rounds.rows))
            return self._history(rig, bundle, rounds, fedavg, centralized)
        finally:
            rig.close()

    def _baselines(self, bundle: bytes) -> tuple[baselines.Curve, baselines.Curve]:
        settings = self.settings
        opened = read_bundle(bundle, limit=len(bundle), publisher=None)
        runtime = open_runtime(opened)
        devices = self.partition.devices
        ready = [
            dataclasses.replace(d, x_train=runtime.prepared(d.x_train), x_test=runtime.prepared(d.x_test))
            for d in (baselines.standardised(devices) if opened.manifest.scaled else devices)
        ]
        training = baselines.Training(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            optimiser=settings.optimiser,
        )
        self._audience.say(f"baselines: {self.scenario.plain_name} and one model on all rows")
        fedavg = baselines.fedavg(
            runtime,
            opened.params,
            ready,
            kind=self.task.kind,
            training=training,
            rounds=settings.rounds,
            devices_per_round=self._devices,
            entropy=self._entropy.child("fedavg"),
        )
        fedavg = dataclasses.replace(fedavg, name=self.scenario.plain_name)
        centralized = baselines.centralized(
            runtime,
            opened.params,
            ready,
            kind=self.task.kind,
            training=training,
            rounds=settings.rounds,
            devices_per_round=self._devices,
            entropy=self._entropy.child("centralized"),
        )
        for curve in (fedavg, centralized):
            self._audience.say(f"{curve.name}: accuracy {curve.final.accuracy:.3f} in {curve.seconds:.1f} s")
        return fedavg, centralized

    def _fleet(self, rig: Rig) -> DemoRounds:
        """Start the processes, and return what the aggregator told of its rounds until it ended."""
        settings = self.settings
        rig.start_broker()
        # Every round up to then waits for who is late, so nobody is where waiting takes long.
        arrives = settings.chaos and settings.rounds > 2 and not crowded(self._devices, self._cores)
        late = rig.names[-1] if arrives and self._devices > FLOOR + 1 else ""
        planned = chaos.Schedule()
        if settings.chaos:
            needed = max(FLOOR, self._threshold)
            steps = chaos.STRICT_STEPS if settings.profile == STRICT else chaos.STEPS
            planned = chaos.schedule(rig.names, self._statistics + 1, settings.rounds, needed, steps)
            if settings.broker in HURT:
                planned = chaos.with_broker(planned, rig.names, self._statistics + 1, settings.rounds)
        watcher = chaos.Watcher(
            planned,
            rig.journals,
            rig.kill_device,
            rig.start_device,
            kill_server=rig.kill_aggregator,
            hurt_broker=rig.hurt_broker,
        )
        self._audience.say(f"starting {self._devices} devices on {self._cores} cores")
        rig.start_devices((name for name in rig.names if name != late), 2 * self._cores)
        held = {device.device: len(device.y_test) for device in self.partition.devices}
        rounds = DemoRounds(
            rig,
            self._audience,
            kind=self.task.kind,
            held=held,
            planned=planned,
            statistics=self._statistics,
            late=late,
        )
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
        tests = {d.device: (snapshot.scaling.inputs(d.x_test), d.y_test) for d in self.partition.devices}
        x = np.concatenate([part for part, _ in tests.values()])
        y = np.concatenate([part for _, part in tests.values()])
        running = runtime.exported(snapshot.params, x)
        return History(
            kind=self.task.kind,
            rounds=tuple(rounds.rows),
            final=evaluate(self.task.kind, y, runtime.predict(snapshot.params, runtime.prepared(x))),
            exported=None if running is None else evaluate(self.task.kind, y, running),
            devices=tuple(
                self._row(runtime, rounds, d, (opened.params, snapshot.params), tests[d.device])
                for d in self.partition.devices
            ),
            model_digest=digest(data).hex(),
            fedavg=fedavg,
            centralized=centralized,
        )

    def _row(
        self,
        runtime: Runtime,
        rounds: DemoRounds,
        held: DeviceData,
        models: tuple[Vector, Vector],
        test: tuple[Rows, Rows],
    ) -> DeviceRow:
        before, after = (self._accuracy(runtime, params, *test) for params in models)
        gained = () if before is None or after is None else (f"accuracy {before:.3f} before, {after:.3f} after",)
        return DeviceRow(
            device=held.device,
            origin=dict(self.partition.origins)[held.device],
            train_rows=len(held.y_train),
            test_rows=len(held.y_test),
            participations=rounds.included[held.device],
            dropouts=rounds.dropped[held.device],
            notes=gained,
            accuracy_before=before,
            accuracy_after=after,
        )

    def _accuracy(self, runtime: Runtime, params: Vector, x: Rows, y: Rows) -> float | None:
        """Return what the int8 model reaches on one device's own test rows, where that is worth showing."""
        running = runtime.exported(params, x) if self.scenario.before and len(y) else None
        return None if running is None else evaluate(self.task.kind, y, running).accuracy


def carried(rounds: Sequence[RoundRow]) -> str:
    """Return what a device carries in a round, payload and control bytes apart: the mean of the rounds given."""
    mean = {name: kilobytes(sum(getattr(row, name) for row in rounds) / len(rounds)) for name in CARRIED}
    return (
        f"each device in a round: update {mean['payload_bytes_up']} kB up, model {mean['payload_bytes_down']} kB down; "
        f"control {mean['control_bytes_up']} kB up, {mean['control_bytes_down']} kB down"
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
