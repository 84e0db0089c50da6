"""A whole fleet in one process: a coordinator and devices on a memory broker, round by round on a turned clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accord.entropy import Entropy
from accord.errors import AccordError
from accord.link.memory import Faults, MemoryBroker
from accord.plan import OFF, STRICT
from accord.prg import digest
from accord.signing import SigningKey
from accord.tensors import Layout
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import Aborted, Closed, Log, Model, Office, Request, Settings, Start, Tick, Withdrew
from aggregator.deltas import BACK, Deltas, Since, nothing_since
from aggregator.enrolment import new_fleet
from aggregator.round_values import Windows
from aggregator.transport import Notice, Transport
from edge_sdk.ports import Worker
from edge_sdk.session_values import Identity, Limits, Refused
from simulation.device import STAGES, STRICT_STAGES, SimulatedDevice

TENANT, JOB = "simulated", "job"
CLOCK = 1_700_000_000
"""Wall time in a simulation: it goes into signed documents, and a seeded run gives the same bytes each time."""
PATIENCE = 5.0
"""Seconds of the turned clock after which devices ask again for what was lost."""
SMALLEST = 3
GAVE_UP = "TrainingFailed"


@dataclass(frozen=True, kw_only=True)
class Attempted:
    """How a round went: closed, or given up after its last attempt, with the aborted attempts before."""

    closed: Closed | None
    aborted: tuple[Aborted, ...]
    refused: tuple[Log, ...]
    withdrawn: tuple[Withdrew, ...]
    given_up: tuple[tuple[str, Refused], ...] = ()
    """Devices that could not do what was asked, with why; each once."""


class SimulatedFleet:
    """The fleet.

    Args:
        workers: what does the work, for each device id.
        layout: the model's trainable tensors.
        params: the snapshot to start from.
        bundle: the bundle's bytes.
        entropy: everything is drawn from it.
        faults: how the broker misbehaves.
        dropout: the chance that a device that takes part in a round loses power in it.
        since: gives what led from one version to another: the job's that makes them.
    """

    def __init__(
        self,
        *,
        workers: Mapping[str, Worker],
        layout: Layout,
        params: bytes,
        bundle: bytes,
        entropy: Entropy,
        faults: Faults | None = None,
        dropout: float = 0.0,
        since: Since = nothing_since,
    ) -> None:
        keys = new_fleet(TENANT, entropy.child("fleet"), CLOCK + 10**8)
        self.broker = MemoryBroker(TENANT, entropy.child("broker"), faults)
        self._entropy, self._dropout = entropy, dropout
        name = digest(bundle)
        self.objects = {digest(params): params}
        self._versions = dict(self.objects)
        office = Office(
            tenant=TENANT,
            key=keys.aggregator,
            roles=keys.roles(),
            roles_version=keys.roles_version,
            enrolment=keys.enrolment.public,
            revocations=keys.revocations(),
            checkpoint=keys.checkpoint(),
        )
        self.coordinator = Coordinator(
            office=office,
            settings=Settings(job=JOB, windows=Windows(grace=1.0)),
            model=Model(version=0, params=params, digest=digest(params), bundle_digest=name, bundle_size=len(bundle)),
            layout=layout,
            clock=CLOCK,
        )
        self._notices: list[Notice] = []
        self._transport = Transport(
            link=self.broker.connect("aggregator"),
            coordinator=self.coordinator,
            objects=self.objects,
            deltas=Deltas(layout, self._versions.get, since),
            now=lambda: self.broker.now,
            clock=lambda: CLOCK,
            told=self._notices.append,
        )
        self._transport.start()
        self.devices: dict[str, SimulatedDevice] = {}
        limits = Limits(smallest_cohort=SMALLEST, allow_unmasked=True, max_epochs=10_000, complete_up_to=0)
        for serial, (device, worker) in enumerate(sorted(workers.items()), 1):
            key = SigningKey(entropy.child("identity", device)(32))
            identity = Identity(
                device=device,
                tenant=TENANT,
                key=key,
                certificate=keys.certificate(device, key.public, serial),
                root=keys.root.public,
                roles=office.roles,
            )
            self.devices[device] = SimulatedDevice(
                broker=self.broker,
                identity=identity,
                limits=limits,
                layout=layout,
                held=params,
                bundle_digest=name,
                worker=worker,
                job=JOB,
                entropy=entropy.child("device", device),
                clock=CLOCK,
            )
        self._pump()

    def choose(self, count: int, among: Sequence[str]) -> list[str]:
        """Return `count` devices that happen to be awake in the next round."""
        drawn = self._entropy.child("awake", self.coordinator.round + 1)(8 * len(among))
        order = np.argsort(np.frombuffer(drawn, "<u8"), kind="stable")
        return sorted(among[at] for at in order[:count])

    def release(self, params: bytes) -> None:
        """Make `params` the next version of the model."""
        self._transport.carry_out(*self.coordinator.release(params, self.coordinator.round))
        self.objects.clear()
        self.objects[digest(params)] = self._versions[digest(params)] = params
        while len(self._versions) > BACK + 1:
            del self._versions[next(iter(self._versions))]

    def round(self, request: Request, awake: Sequence[str], *, dropouts: bool) -> Attempted:
        """Run one round with the devices that are awake, through as many attempts as it takes.

        Args:
            request: what the round shall do.
            awake: who takes part.
            dropouts: whether devices may lose power in it.
        """
        self._notices.clear()
        seed = self._entropy.child("round", self.coordinator.round + 1)(32)
        online = tuple(sorted(self.coordinator.online))
        checkpoint = self.coordinator.office.checkpoint
        self._transport.step(Start(request=request, online=online, seed=seed, checkpoint=checkpoint))
        for device in awake:
            self.devices[device].wake(self._fate(device) if dropouts else "")
        while (ended := self._ended()) is None:
            self._pump()
            if self._ended() is None:
                self._turn()
        self._pump()
        given_up = []
        for device in awake:
            self.devices[device].rest()
            found = [refusal for refusal in self.devices[device].refusals if refusal.reason == GAVE_UP]
            given_up += [(device, refusal) for refusal in found[-1:]]
            self.devices[device].refusals.clear()
        aborted = tuple(notice for notice in self._notices if isinstance(notice, Aborted))
        refused = tuple(notice for notice in self._notices if isinstance(notice, Log))
        withdrawn = tuple(notice for notice in self._notices if isinstance(notice, Withdrew))
        return Attempted(
            closed=ended if isinstance(ended, Closed) else None,
            aborted=aborted,
            refused=refused,
            withdrawn=withdrawn,
            given_up=tuple(given_up),
        )

    def _fate(self, device: str) -> str:
        draw = self._entropy.child("fate", self.coordinator.round, device)
        if int.from_bytes(draw(4), "little") >= self._dropout * 2**32:
            return ""
        stages = STRICT_STAGES if self.coordinator.profile == STRICT else STAGES
        stage = stages[draw(1)[0] % len(stages)]
        masked = self.coordinator.profile != OFF
        return stage if masked or stage != "share" else "masked"

    def _ended(self) -> Closed | Aborted | None:
        for notice in self._notices:
            if isinstance(notice, Closed) or (isinstance(notice, Aborted) and notice.final):
                return notice
        return None

    def _pump(self) -> None:
        """Carry letters until nothing moves."""
        busy = True
        while busy:
            busy = False
            while (delivery := self._transport.link.receive(0)) is not None:
                busy = True
                self._transport.handle(delivery)
            for device in self.devices.values():
                busy = device.pump() or busy
            if not busy and self._transport.waiting:
                self._transport.flush()
                busy = True

    def _turn(self) -> None:
        """Turn the clock to where something can happen."""
        times = [self.coordinator.next_time(), self.broker.next_arrival, self.broker.now + PATIENCE]
        self.broker.advance(max(0.0, min(time for time in times if time is not None) - self.broker.now))
        for device in self.devices.values():
            device.ask_again()
        self._transport.step(Tick())


def failed(attempted: Attempted, what: str) -> AccordError:
    """Return the error for a round that had to close and did not: what the devices say, else why attempts ended."""
    details = {refusal.detail: device for device, refusal in attempted.given_up}
    if details:
        reasons = "; ".join(f"{device}: {detail}" for detail, device in details.items())
    else:
        reasons = "; ".join(f"attempt {a.attempt}: {a.reason}, {a.detail}" for a in attempted.aborted)
    return AccordError(f"{what} could not be closed: {reasons}")
