"""A device on the link in memory that can lose power at any write and at any send."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accord import prg
from accord.entropy import SeededEntropy
from accord.files import Disk
from accord.files.memory import MemoryFiles, PowerCut
from accord.link.memory import MemoryLink
from accord.link.port import Will
from accord.plan import Plan
from accord.tensors import Layout
from accord.update.compression import COMPRESSIONS
from accord.update.pipeline import Contribution
from accord.wire import topics
from accord.wire.messages import State
from edge_sdk import session_values as dev
from edge_sdk.agent import Agent
from edge_sdk.journal import DiskRecords
from edge_sdk.patience import Patience
from edge_sdk.roles import newer
from edge_sdk.session import Session

if TYPE_CHECKING:
    from crash_world import World

TENANT, JOB = "t", "j"
LAYOUT = Layout((("w", (3, 2)),))
BUNDLE = b"bundle"
CLOCK = 1_000
FOLDER = Path("/state")
WIGGLE = 3e-3
"""Each time a device trains its change is a little larger: two masked vectors of one attempt would be seen."""


class Fuse:
    """Counts what may be a process's last act, and lets the power go at one of them."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.count = at, 0

    def burn(self) -> None:
        if self.count == self.at:
            self.count += 1
            raise PowerCut
        self.count += 1


class FusedLink:
    """A memory link that loses power before a send; it keeps what was sent in a log."""

    def __init__(self, link: MemoryLink, fuse: Fuse, sent: list[tuple[str, bytes]]) -> None:
        self._link, self._fuse, self._sent = link, fuse, sent

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        self._fuse.burn()
        self._sent.append((topic, payload))
        self._link.publish(topic, payload, qos=qos, retain=retain)

    def __getattr__(self, name: str) -> object:
        return getattr(self._link, name)


class Worker:
    def __init__(self, number: int, size: int) -> None:
        self.number, self.count, self.size = number, 0, size

    def work(self, plan: Plan, params: bytes) -> Contribution:
        assert prg.digest(params) == plan.params_digest
        self.count += 1
        figures = {"count": 2, "loss": 1, "correct": 1}
        if plan.purpose == "evaluate":
            return Contribution(rows=10 + self.number, figures=figures)
        delta = np.full(self.size, 0.1 * self.number + WIGGLE * self.count, np.float32)
        return Contribution(rows=10 + self.number, delta=delta, figures=figures)


class Device:
    """One device: its disk and its power."""

    def __init__(self, world: "World", name: str, identity: dev.Identity) -> None:
        self.world, self.name, self.identity = world, name, identity
        self.files, self.fuse = MemoryFiles(), Fuse()
        self.worker = Worker(int(name[-2:]), world.layout.size)
        self.boots = 0
        self.later: tuple[str, ...] = ()
        """What it can compress with from its second start on, if that is something else."""
        self.finished: list[dev.Finished] = []
        self.refused: list[dev.Refused] = []
        self.ledgers: list[dev.Ledger] = []
        self.boot()

    def boot(self) -> None:
        self.boots += 1
        records = DiskRecords(FOLDER, JOB, Disk(self.files))
        birth = records.next_birth()
        topic = topics.up(TENANT, self.name, "state")
        will = Will(topic=topic, payload=State(online=False, birth=birth, job=JOB).encode())
        self.link = self.world.broker.connect(self.name, will)
        ledger = records.ledger()
        if self.ledgers:
            before = self.ledgers[-1]
            assert (ledger.round, ledger.attempt, ledger.participations) >= (
                before.round,
                before.attempt,
                before.participations,
            ), "the ledger went back"
        self.ledgers.append(ledger)
        roles = newer(self.identity.roles, records.roles(), self.identity.root, TENANT)
        session = Session(
            job=JOB,
            identity=dataclasses.replace(self.identity, roles=roles),
            limits=dev.Limits(smallest_cohort=3, allow_unmasked=True, max_attempts=9),
            layout=self.world.layout,
            bundle_digest=prg.digest(BUNDLE),
            entropy=SeededEntropy(self.boots).child(self.name),
            ledger=ledger,
            now=self.world.clock,
            birth=birth,
            residual=records.residual(),
            compressors=self.later
            if self.later and self.boots > 1
            else self.world.compressors.get(self.name, COMPRESSIONS),
        )
        self.agent = Agent(
            link=FusedLink(self.link, self.fuse, self.world.sent[self.name]),
            session=session,
            worker=self.worker,
            records=records,
            job=JOB,
            held=records.model(1 << 20, self.world.layout),
            told=self._told,
        )
        self.patience = Patience(self.world.broker.now)
        self.agent.start(birth)
        self.agent.resume(records.saved())
        self.agent.wake()

    def _told(self, effect: dev.Finished | dev.Refused) -> None:
        (self.finished if isinstance(effect, dev.Finished) else self.refused).append(effect)

    def pump(self) -> bool:
        busy = False
        while (delivery := self.link.receive(0)) is not None:
            busy = True
            self.agent.handle(delivery)
            self.patience.heard(self.world.broker.now)
        return busy
