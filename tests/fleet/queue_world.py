"""A whole fleet on a queue: sessions and a coordinator, with devices that fall silent at any step."""

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Task, Training
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.compression import COMPRESSIONS
from accord.update.pipeline import Contribution
from aggregator import coordinator_values as agg
from aggregator.coordinator import Coordinator
from aggregator.enrolment import new_fleet
from aggregator.round_values import Windows
from edge_sdk import session_values as dev
from edge_sdk.session import Session

LAYOUT = Layout((("w", (3, 2)),))
BUNDLE = prg.digest(b"bundle")
CLOCK = 1_000


class World:
    """A fleet whose letters go through one queue; `mute(device, letter number)` decides who falls silent when."""

    def __init__(
        self,
        devices: int,
        *,
        mute: Callable[[str, int], bool] = lambda _d, _n: False,
        compressors: Mapping[str, tuple[str, ...]] | None = None,
        **limits: object,
    ) -> None:
        entropy = SeededEntropy(1)
        fleet = new_fleet("t", entropy.child("fleet"), CLOCK + 1000)
        self.office = agg.Office(
            tenant="t",
            key=fleet.aggregator,
            roles=fleet.roles(),
            roles_version=1,
            enrolment=fleet.enrolment.public,
            revocations=fleet.revocations(),
            checkpoint=fleet.checkpoint(),
        )
        params = np.zeros(LAYOUT.size, "<f4").tobytes()
        model = agg.Model(version=0, params=params, digest=prg.digest(params), bundle_digest=BUNDLE, bundle_size=1)
        self.coordinator = Coordinator(
            office=self.office,
            settings=agg.Settings(job="j", windows=Windows(join=10, share=10, collect=10, unmask=10, grace=1)),
            model=model,
            layout=LAYOUT,
            clock=CLOCK,
        )
        self.sessions = {}
        self.compressors = compressors or {}
        self.fleet, self.entropy, self.limits = fleet, entropy, limits
        for i in range(devices):
            self.enrol(f"dev-{i:02d}", serial=i)
        self.now = 0.0
        self.mute = mute
        self.sent: dict[str, int] = dict.fromkeys(self.sessions, 0)
        self.log: list[object] = []
        self.queue: deque[tuple[str, bytes]] = deque()

    def enrol(self, name: str, serial: int) -> None:
        """Let a device begin under a key of its own; the one that had the name before is no more."""
        key = SigningKey(self.entropy.child("identity", serial)(32))
        identity = dev.Identity(
            device=name,
            tenant="t",
            key=key,
            certificate=self.fleet.certificate(name, key.public, serial),
            root=self.fleet.root.public,
            roles=self.fleet.roles(),
        )
        self.sessions[name] = Session(
            job="j",
            identity=identity,
            limits=dev.Limits(**({"smallest_cohort": 3, "allow_unmasked": True} | self.limits)),
            layout=LAYOUT,
            bundle_digest=BUNDLE,
            entropy=self.entropy.child("device", serial),
            ledger=dev.Ledger(),
            now=CLOCK,
            compressors=self.compressors.get(name, COMPRESSIONS),
        )

    def request(self, **changes: object) -> agg.Request:
        fields = {
            "purpose": "train",
            "devices": len(self.sessions),
            "cohorts": 1,
            "floor": 3,
            "cap": 100,
            "training": Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
            "fixed": Fixed(value_bits=16, modulus_bits=24, exponents=(0,), largest_weight=100),
            "task": Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
            "length": LAYOUT.size,
            "profile": "standard",
        }
        return agg.Request(**(fields | changes))

    def start(self, **changes: object) -> agg.Start:
        return agg.Start(request=self.request(**changes), online=(), seed=bytes(32), checkpoint=self.office.checkpoint)

    def contribution(self, name: str) -> Contribution:
        number = int(name[-2:])
        delta = np.full(LAYOUT.size, 0.01 * number, np.float32)
        return Contribution(rows=10 + number, delta=delta, figures={"count": 2, "loss": 1, "correct": 1})

    def device(self, name: str, event: dev.Event) -> None:
        for effect in self.sessions[name].step(event):
            match effect:
                case dev.Send(data=data):
                    self.sent[name] += 1
                    if self.mute(name, self.sent[name]):
                        self.sessions.pop(name)
                        self.aggregator(agg.Presence(device=name, online=False))
                        return
                    self.queue.append(("aggregator:" + name, data))
                case dev.Fetch(params_digest=params, bundle_digest=bundle):
                    self.device(name, dev.Fetched(params_digest=params, bundle_digest=bundle))
                case dev.Work():
                    self.device(name, dev.Worked(found=self.contribution(name)))
                case _:
                    self.log.append(effect)

    def aggregator(self, event: agg.Event) -> None:
        for effect in self.coordinator.step(event, self.now, CLOCK):
            match effect:
                case agg.Send(device=device, data=data) | agg.Settle(device=device, data=data):
                    self.queue.append((device, data))
                case agg.Announce(topic="round", data=data):
                    self.queue.extend((name, data) for name in self.sessions)
                case agg.Announce() | agg.Planned() | agg.Stood():
                    pass
                case _:
                    self.log.append(effect)

    def run(self, **changes: object) -> agg.Closed | None:
        self.aggregator(self.start(**changes))
        return self.go_on()

    def go_on(self) -> agg.Closed | None:
        """Let the round that is under way end."""
        before = len(self.log)
        while True:
            while self.queue:
                to, data = self.queue.popleft()
                if to.startswith("aggregator:"):
                    self.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))
                elif to in self.sessions:
                    self.device(to, dev.Arrived(data=data))
            ended = [
                e for e in self.log[before:] if isinstance(e, agg.Closed) or (isinstance(e, agg.Aborted) and e.final)
            ]
            if ended:
                return ended[-1] if isinstance(ended[-1], agg.Closed) else None
            self.now = max(self.now, self.coordinator.next_time() or self.now)
            self.aggregator(agg.Tick())

    def of(self, kind: type) -> list[object]:
        return [entry for entry in self.log if isinstance(entry, kind)]


def expected_mean(names: tuple[str, ...]) -> float:
    numbers = [int(name[-2:]) for name in names]
    return float(np.average([0.01 * n for n in numbers], weights=[10 + n for n in numbers]))
