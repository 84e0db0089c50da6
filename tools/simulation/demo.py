"""The demo: a broker, an aggregator and device processes train on real data over MQTT while devices are killed.

Plain FedAvg and the centralized baseline run first, in this process and timed apart.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import AccordError, UsageError
from accord.prg import digest
from accord.runtimes import open_runtime
from accord.secagg.graph import standard
from accord.update.snapshot import decode
from aggregator.attendance import FIGURES
from aggregator.blobs import BLOBS, Blobs
from aggregator.registry import Registry
from aggregator.store import Store, database_of
from simulation import baselines, chaos, datasets, evaluation
from simulation.demo_settings import FLOOR, DemoSettings
from simulation.history import Abort, DeviceRow, History, RoundRow
from simulation.metrics import Evaluation, evaluate
from simulation.partition import Partition, deal, parse_scheme
from simulation.rig import JOB, Rig, RigSettings

STATISTICS = 2
"""Rounds before the first training round."""


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who is told what: sentences, and rounds."""

    say: Callable[[str], None]
    add: Callable[[RoundRow], None]


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
        self.exact = 0
        """Rounds whose masked count of rows equals the rows of the devices in the sum."""
        self._included: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

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
            rows = self._fleet(rig)
            self._audience.say(f"sums: {self.exact} of {self.exact} exact, by the rows counted inside the masks")
            return self._history(rig, bundle, rows, fedavg, centralized)
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

    def _fleet(self, rig: Rig) -> list[RoundRow]:
        """Start the processes, and turn what the aggregator prints into rows until it ends."""
        settings = self.settings
        rig.start_broker()
        late = rig.names[-1] if settings.chaos and settings.devices > FLOOR + 1 and settings.rounds > 2 else None
        planned = chaos.Schedule()
        if settings.chaos:
            needed = max(FLOOR, self._threshold)
            planned = chaos.schedule(rig.names, STATISTICS + 1, settings.rounds, needed)
        watcher = chaos.Watcher(planned, rig.journals, rig.kill_device, rig.start_device, rig.kill_aggregator)
        for name in rig.names:
            if name != late:
                rig.start_device(name)
        watcher.start()
        try:
            return self._rows(rig, rig.facts(), late, planned)
        finally:
            watcher.stop()

    def _rows(self, rig: Rig, found: Any, late: str | None, planned: chaos.Schedule) -> list[RoundRow]:
        """Turn what the aggregator prints into rows: the tails of a round measure the model of the round before."""
        rows: list[RoundRow] = []
        aborted: list[Abort] = []
        included: list[str] = []
        waiting: list[RoundRow] = []  # rows whose model was not measured yet: the last one is this round's

        def add(row: RoundRow, figures: Evaluation) -> None:
            rows.append(dataclasses.replace(row, evaluation=figures))
            self._audience.add(rows[-1])

        for fact in found:
            if fact["event"] == "aborted":
                aborted.append(Abort(attempt=fact["attempt"], reason=fact["reason"], detail=fact["detail"]))
            elif fact["event"] == "figures" and fact["purpose"] in ("train", "evaluate"):
                self._exact(fact, included)
                last = waiting.pop() if fact["purpose"] == "train" else None
                for row in waiting:
                    add(row, evaluation.of_sums(self.task.kind, fact["figures"]))
                waiting = [] if last is None else [last]
            elif fact["event"] == "round":
                included = fact["included"]
                self._came_back(fact["round"], planned, included)
                if fact["purpose"] == "train":
                    self._included.update(fact["included"])
                    self._dropped.update(fact["dropped"])
                    waiting.append(self._row(fact, tuple(aborted)))
                aborted = []
                if late is not None and fact["round"] == STATISTICS + 1:
                    self._audience.say(f"{late} arrives late")
                    rig.start_device(late)
                    late = None
                self._revive(rig, fact["round"], planned)
        if len(rows) < self.settings.rounds:
            raise AccordError(f"the aggregator ended after {len(rows)} rounds: look at {rig.folder / 'aggregator.log'}")
        return rows

    def _exact(self, fact: dict[str, Any], included: list[str]) -> None:
        """Compare the test rows that were counted inside the masked vectors with those of the devices in the sum.

        Raises:
            AccordError: the sum is wrong: a mask was left in it.
        """
        held = {device.device: len(device.y_test) for device in self.partition.devices}
        counted, there = round(fact["figures"]["count"][0]), sum(held[name] for name in included)
        if counted != there:
            raise AccordError(f"round {fact['round']}: {counted} rows were counted where {there} are: a wrong sum")
        self.exact += 1

    def _came_back(self, number: int, planned: chaos.Schedule, included: list[str]) -> None:
        if planned.server is None or planned.server[0] != number:
            return
        device = planned.server[1].device
        back = f", and {device} between masked and unmask" if device in included else ""
        self._audience.say(f"killed: the aggregator in the middle of a round{back}; back in the same round")

    def _revive(self, rig: Rig, number: int, planned: chaos.Schedule) -> None:
        dead = rig.dead()
        if not dead:
            return
        steps = {blow.device: blow.step for blow in planned.blows.get(number, ())}
        told = ", ".join(f"{name} at {steps[name]}" if name in steps else name for name in dead)
        self._audience.say(f"killed: {told}; back for the next round")
        for name in dead:
            rig.start_device(name)

    def _row(self, fact: dict[str, Any], aborted: tuple[Abort, ...]) -> RoundRow:
        devices = max(1, fact["devices"])
        # A round through which the aggregator was restarted has no measurement from its beginning.
        measured = fact["bytes"] or dict.fromkeys(FIGURES, math.nan)
        carried = {name: value if math.isnan(value) else max(0, value) / devices for name, value in measured.items()}
        return RoundRow(
            round=fact["round"] - STATISTICS,
            attempt=fact["attempt"],
            evaluation=Evaluation(rows=0),
            participants=len(fact["included"]),
            dropouts=len(fact["dropped"]),
            recovered=len(fact["recovered"]),
            payload_bytes_up=carried["payload_up"],
            payload_bytes_down=carried["payload_down"],
            control_bytes_up=_rest(carried["bytes_up"], carried["payload_up"]),
            control_bytes_down=_rest(carried["bytes_down"], carried["payload_down"]),
            seconds=fact["seconds"],
            aborted=aborted,
            saturated=fact.get("saturated", 0.0),
            doubled=fact.get("scale_doubled", False),
        )

    def _history(
        self,
        rig: Rig,
        bundle: bytes,
        rows: list[RoundRow],
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
            rounds=tuple(rows),
            final=final,
            devices=tuple(
                DeviceRow(
                    device=d.device,
                    train_rows=len(d.y_train),
                    test_rows=len(d.y_test),
                    participations=self._included[d.device],
                    dropouts=self._dropped[d.device],
                )
                for d in self.partition.devices
            ),
            model_digest=digest(data).hex(),
            fedavg=fedavg,
            centralized=centralized,
        )


def _rest(everything: float, payload: float) -> float:
    return everything if math.isnan(everything) else max(0.0, everything - payload)


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
