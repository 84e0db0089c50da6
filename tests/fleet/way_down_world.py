"""An aggregator that serves models, devices that download them, and the versions of a job."""

from collections.abc import Callable, Sequence

import numpy as np

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.link import Delivery
from accord.link.memory import MemoryBroker
from accord.records import Record
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update import blocks
from accord.update.snapshot import first
from accord.wire import chunks, topics
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, opened
from aggregator import coordinator_values as agg
from aggregator.coordinator import Coordinator
from aggregator.deltas import Deltas
from aggregator.enrolment import new_fleet
from aggregator.releases import Releases
from aggregator.round_values import Windows
from aggregator.transport import Transport
from edge_sdk.fetching import Fetching
from edge_sdk.session_values import Fetch

CLOCK = 1_000
LAYOUT = Layout((("w", (400, 250)), ("b", (250,))))
KEYS = new_fleet("t", SeededEntropy(1), CLOCK + 10_000)
PIECES = topics.piece("t", "")


def history(count: int) -> list[bytes]:
    """Return the snapshots of so many releases after a bundle's; each round touches a tenth of the blocks."""
    rng, releases = np.random.default_rng(0), Releases(LAYOUT)
    params = rng.normal(0, 0.05, LAYOUT.size).astype(np.float32)
    found = [first(params, 4)]
    for _ in range(count):
        change = rng.normal(0, 1e-3, LAYOUT.size).astype(np.float32)
        change[~blocks.members(rng.random(blocks.count(LAYOUT.size)) < 0.1, 0, LAYOUT.size)] = 0
        params = releases.next(params, change)
        found.append(first(params, 4))
    return found


HISTORY = history(6)
FIRST, LAST = HISTORY[0], HISTORY[-1]


class Door:
    """The aggregator's side, with the versions that it still knows; `restart` leaves it nothing but those."""

    def __init__(self, versions: list[bytes]) -> None:
        self.versions = {prg.digest(data): data for data in versions}
        self.broker = MemoryBroker("t", SeededEntropy(1))
        self.published: list[bytes] = []
        self.restart()

    def restart(self, deltas: Deltas | None = None, more: Sequence[bytes] = ()) -> None:
        newest = list(self.versions.values())[-1]
        office = agg.Office(
            tenant="t",
            key=KEYS.aggregator,
            roles=KEYS.roles(),
            roles_version=KEYS.roles_version,
            enrolment=KEYS.enrolment.public,
            revocations=KEYS.revocations(),
            checkpoint=KEYS.checkpoint(),
        )
        name = prg.digest(newest)
        coordinator = Coordinator(
            office=office,
            settings=agg.Settings(job="j", windows=Windows()),
            model=agg.Model(version=1, params=newest, digest=name, bundle_digest=bytes(32), bundle_size=1),
            layout=LAYOUT,
            clock=CLOCK,
        )
        self.transport = Transport(
            link=self.broker.connect("aggregator"),
            coordinator=coordinator,
            objects={prg.digest(data): data for data in (newest, *more)},
            deltas=Deltas(LAYOUT, self.versions.get) if deltas is None else deltas,
            now=lambda: 0.0,
            clock=lambda: CLOCK,
            told=lambda _notice: None,
        )
        self.transport.start()

    def serve(self) -> bool:
        busy = False
        while (delivery := self.transport.link.receive(0)) is not None:
            busy = True
            self.transport.handle(delivery)
        if self.transport.waiting:
            busy = True
            self.transport.flush()
        return busy


class Device:
    """One device's downloads; `lose` says which deliveries the network loses."""

    def __init__(self, door: Door, name: str, held: bytes) -> None:
        self.name, self.key = name, SigningKey(prg.digest(name.encode()))
        self.link = door.broker.connect(name)
        for kind in ("rsp", "cmd"):
            self.link.subscribe(topics.down("t", name, kind))
        self.kept: list[bytes] = []
        self.sent: list[Record] = []
        self.refused: list[str] = []
        self.bytes, self.done = 0, False
        self.fetching = Fetching(
            self.link,
            "t",
            LAYOUT,
            held=held,
            send=self._send,
            largest=1 << 20,
            received=self._received,
            kept=lambda model, _led: self.kept.append(model),
        )

    def _send(self, message: Record) -> None:
        self.sent.append(message)
        letter = seal(TAG_OF[type(message)], message.encode(), key=self.key, sender=self.name, recipient="aggregator")
        self.link.publish(topics.up("t", self.name, "req"), letter.encode())

    def _received(self, size: int) -> None:
        self.bytes += size

    def want(self, model: bytes) -> None:
        self.fetching.fetch(
            Fetch(params_digest=prg.digest(model), params_size=len(model), bundle_digest=bytes(32), bundle_size=1)
        )

    def pump(self, lose: Callable[[Delivery], bool] = lambda _delivery: False) -> bool:
        busy = False
        while (delivery := self.link.receive(0)) is not None:
            busy = True
            if lose(delivery):
                continue
            try:
                self._take(delivery)
            except Refusal as refusal:
                self.refused.append(refusal.reason)
        return busy

    def _take(self, delivery: Delivery) -> None:
        if delivery.topic.startswith(PIECES):
            self.done = self.fetching.piece(delivery.payload) is not None or self.done
            return
        letter = Envelope.decode(delivery.payload)
        letter.check(KEYS.aggregator.public)
        if letter.tag == TAG_OF[chunks.Merged]:
            self.fetching.merged(opened(letter, chunks.Merged))
        else:
            self.fetching.manifest(opened(letter, chunks.Manifest))


def settle(door: Door, *devices: Device, lose: Callable[[Delivery], bool] = lambda _delivery: False) -> None:
    for _ in range(50):
        if not any([door.serve(), *(device.pump(lose) for device in devices)]):
            return
    raise AssertionError("it does not end")
