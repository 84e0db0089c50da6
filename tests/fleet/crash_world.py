"""A fleet on the link in memory whose devices and aggregator can lose power at any write and at any send."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from crash_device import BUNDLE, CLOCK, JOB, LAYOUT, TENANT, WIGGLE, Device, Fuse, FusedLink

from accord import prg
from accord.entropy import SeededEntropy
from accord.files.crash import Crash
from accord.files.memory import PowerCut
from accord.link.memory import MemoryBroker
from accord.plan import CLASSIC, Task, Training
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.snapshot import Snapshot, unscaled
from accord.wire import topics
from accord.wire.envelope import Envelope
from aggregator import coordinator_values as agg
from aggregator.books import MemoryBooks
from aggregator.chronicle import Chronicle
from aggregator.coordinator import Coordinator
from aggregator.enrolment import new_fleet
from aggregator.job import Job
from aggregator.job_runner import JobRunner
from aggregator.job_settings import JobSettings
from aggregator.round_values import Windows
from aggregator.strategies.fedavg import FedAvg
from aggregator.update_choice import UpdateChoice
from edge_sdk import session_values as dev


class World:
    """Devices, an aggregator and its books; `run` goes on through every crash."""

    def __init__(
        self,
        devices: int = 4,
        *,
        rounds: int = 1,
        profile: str = "standard",
        keys: str = CLASSIC,
        update: str = "dense:16",
        layout: Layout = LAYOUT,
        compressors: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.compressors = compressors or {}
        self.update, self.layout = UpdateChoice.parse(update), layout
        self.broker = MemoryBroker(TENANT, SeededEntropy(7))
        self.sent: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.told: list[dict[str, object]] = []
        self.rounds, self.profile, self.count, self.keys = rounds, profile, devices, keys
        self.fleet = new_fleet(TENANT, SeededEntropy(1), CLOCK + 10_000)
        self.fuse, self.starts = Fuse(), 0
        self.books = MemoryBooks(self.fuse.burn)
        self.crashes = 0
        self.revocations = b""
        self.clock = CLOCK
        self.chronicle: Chronicle | None = None
        self.runner: JobRunner | None = None
        self.devices: dict[str, Device] = {}
        self.how = Crash(names="lost", data="lost")
        for number in range(devices):
            name = f"dev-{number:02d}"
            key = SigningKey(SeededEntropy(100 + number)(32))
            identity = dev.Identity(
                device=name,
                tenant=TENANT,
                key=key,
                certificate=dataclasses.replace(self.fleet, expires=CLOCK + 10**6).certificate(
                    name, key.public, number
                ),
                root=self.fleet.root.public,
                roles=self.fleet.roles(),
            )
            self.devices[name] = Device(self, name, identity)

    def _job(self) -> Job:
        snapshot = Snapshot(params=np.zeros(self.layout.size, np.float32), scaling=unscaled(3))
        return Job(
            settings=JobSettings(
                rounds=self.rounds,
                devices=self.count,
                devices_per_round=self.count,
                cohorts=1,
                floor=3,
                training=Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
                task=Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
                profile=self.profile,
                keys=self.keys,
                update=self.update,
            ),
            layout=self.layout,
            exponents=(0,),
            snapshot=snapshot,
            columns=3,
            strategy=FedAvg(),
            statistics=False,
            largest_weight=100,
        )

    def tell(self, fact: Mapping[str, Any]) -> None:
        self.told.append(dict(fact))

    def start_aggregator(self) -> None:
        """Start the process: nothing but the books is left of the one before."""
        self.starts += 1
        job = self._job()
        params = job.snapshot.encode()
        office = agg.Office(
            tenant=TENANT,
            key=self.fleet.aggregator,
            roles=self.fleet.roles(),
            roles_version=self.fleet.roles_version,
            enrolment=self.fleet.enrolment.public,
            revocations=self.fleet.revocations(),
            checkpoint=self.fleet.checkpoint(),
        )
        model = agg.Model(
            version=0,
            params=params,
            digest=prg.digest(params),
            bundle_digest=prg.digest(BUNDLE),
            bundle_size=len(BUNDLE),
        )
        windows = Windows(join=30, share=30, collect=60, unmask=30, grace=10)
        coordinator = Coordinator(
            office=office,
            settings=agg.Settings(job=JOB, windows=windows, max_attempts=5),
            model=model,
            layout=self.layout,
            clock=self.clock,
            prove=None if self.chronicle is None else self.chronicle.prove,
        )
        self.link = self.broker.connect("aggregator")
        self.runner = JobRunner(
            link=FusedLink(self.link, self.fuse, self.sent["aggregator"]),
            coordinator=coordinator,
            job=job,
            books=self.books,
            objects={},
            entropy=SeededEntropy(50 + self.starts),
            monotonic=lambda: self.broker.now,
            clock=lambda: self.clock,
            gather=30.0,
            told=self.tell,
            held=True,
            revocations=lambda: self.revocations,
            chronicle=self.chronicle,
        )
        self.runner.start()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Run the job to its end, or until something holds; whoever loses power is switched on again."""
        for _ in range(3_000):
            if self._aggregator(self._served) or until():
                return
            busy = [self._device(device) for device in self.devices.values()]
            if not any(busy) and not self.link.connected:
                continue
            if not any(busy) and not self.link._queue:
                self.broker.advance(1.0)
                for device in self.devices.values():
                    self._powered(device, lambda d=device: d.patience.over(self.broker.now) and d.agent.ask_again())
        raise AssertionError("the job does not end")

    def _aggregator(self, act: Callable[[], bool]) -> bool:
        try:
            if self.runner is None:
                self.start_aggregator()
            return act()
        except PowerCut:
            self.crashes += 1
            self.link.die()
            self.books.crash()
            self.runner = None
            return False

    def _served(self) -> bool:
        runner = self.runner
        assert runner is not None
        while (delivery := self.link.receive(0)) is not None:
            runner.transport.handle(delivery)
        runner.transport.flush()
        runner.poll()
        runner.transport.release()
        return runner.ended

    def _device(self, device: Device) -> bool:
        busy = False

        def pump() -> None:
            nonlocal busy
            busy = device.pump()

        self._powered(device, pump)
        return busy

    def _powered(self, device: Device, act: Callable[[], object]) -> None:
        while True:
            try:
                act()
            except PowerCut:
                self.crashes += 1
                device.link.die()
                device.files.crash(self.how)
                act = device.boot  # power is back; it may go again while the device starts
            else:
                return

    def _quiet(self) -> None:
        """Let the devices hear what was sent at last, and ask for what they lack: the aggregator still answers."""
        for _ in range(100):
            for device in self.devices.values():
                self._device(device)
                self._powered(device, lambda d=device: d.patience.over(self.broker.now) and d.agent.ask_again())
            self._aggregator(self._served)
            self.broker.advance(1.0)

    def _check_what_devices_know(self) -> None:
        """Whoever is in a sum was told so, and nobody was told what is not so; a power cut may have it told twice."""
        for record in self.books.records:
            for name, device in self.devices.items():
                at = (record["round"], record["attempt"])
                told = {(f.status, f.included) for f in device.finished if (f.round, f.attempt) == at}
                inside = name in record["included"]
                assert told <= {(record["status"], inside)}, (name, at, told)
                assert told or not inside, f"{name} never learned that it is in the sum of round {at}"

    def letters(self, name: str, *tags: str) -> list[Envelope]:
        """Every letter of some kinds that a device sent."""
        request = topics.up(TENANT, name, "req")
        found = [Envelope.decode(payload) for topic, payload in self.sent[name] if topic == request]
        return [letter for letter in found if letter.tag in tags]

    def left_out(self) -> npt.NDArray[np.float64]:
        """The mean of what the devices keep; whoever took part in every round must have all that is missing."""
        found = [device.agent.session._state.residual for device in self.devices.values()]
        assert not any(residual._flights for residual in found), "a result is missing"
        kept = [residual._vector(residual._held) for residual in found]
        vectors = [np.zeros(self.layout.size) if vector is None else vector for vector in kept]
        return np.average(vectors, axis=0, weights=[10 + d.worker.number for d in self.devices.values()])

    def check(self) -> None:
        """Assert that every sum was right, and that nothing was masked, answered or counted twice."""
        expected = np.zeros(self.layout.size)
        for record in self.books.records:
            if record["status"] == "closed" and record["purpose"] == "train":
                inside = [self.devices[name] for name in record["included"]]
                assert len(inside) >= 3
                numbers = [d.worker.number for d in inside]
                expected += np.average([0.1 * n for n in numbers], weights=[10 + n for n in numbers])
        runner = self.runner
        assert runner is not None
        self._quiet()
        slack = 1e-3 + WIGGLE * max(d.worker.count for d in self.devices.values()) * self.rounds
        left = np.frombuffer(runner.job.releases.residual or bytes(4 * self.layout.size), "<f4")
        assert np.allclose(runner.job.snapshot.params + left + self.left_out(), expected, atol=slack), "a wrong sum"
        self._check_what_devices_know()
        purposes = [(r["round"], r["purpose"]) for r in self.books.records]
        assert len(purposes) == self.rounds + 1, purposes
        assert len(set(purposes)) == len(purposes), "a round was counted twice"
        for name in self.devices:
            by_attempt: dict[tuple[str, bytes], set[bytes]] = defaultdict(set)
            for letter in self.letters(name, "join/2", "share/2", "masked/1", "consistency/1", "unmask/1"):
                by_attempt[letter.tag, letter.context].add(letter.encode())
            for (tag, _), letters in by_attempt.items():
                assert len(letters) == 1, f"{name} sent two different {tag} in one attempt"
