"""A whole fleet on a queue: sessions and a coordinator, with devices that fall silent at any step."""

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import PROFILES, Fixed, Task, Training
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.compression import COMPRESSIONS
from accord.update.pipeline import Contribution
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF
from accord.wire.secure_sum import Join
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
        before = len(self.log)
        self.aggregator(self.start(**changes))
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


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("cohorts", [1, 3])
def test_rounds_follow_one_another(profile: str, cohorts: int) -> None:
    world = World(10)
    for number in (1, 2, 3):
        closed = world.run(profile=profile, cohorts=cohorts)
        assert closed is not None
        assert (closed.round, closed.attempt, len(closed.included), closed.dropped) == (number, 1, 10, ())
        assert len(closed.totals) == cohorts
        assert sum(t.figures["count"][0] for t in closed.totals) == 20
        mean = np.average([t.mean for t in closed.totals], axis=0, weights=[t.weight for t in closed.totals])
        assert np.allclose(mean, expected_mean(closed.included), atol=1e-3)
    assert not world.of(agg.Log) + world.of(dev.Refused)
    assert all(f.included for f in world.of(dev.Finished))
    assert len(world.of(dev.Charge)) == 30 + 30 + 10, (
        "participations, closed rounds, and once the version of all rounds"
    )


@pytest.mark.parametrize("letter", [1, 2, 3, 4, 5])
def test_devices_that_fall_silent_at_each_letter(letter: int) -> None:
    gone = {"dev-01", "dev-04"}
    world = World(9, mute=lambda name, n: name in gone and n == letter)
    closed = world.run()
    assert closed is not None
    inside = set(closed.included)
    assert inside == ({f"dev-{i:02d}" for i in range(9)} - (gone if letter < 5 else set())), letter
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)
    assert set(closed.recovered) == (gone if letter == 4 else set())


@pytest.mark.parametrize(
    ("profile", "letter"), [("standard", 2), ("standard", 3), ("standard", 4), ("standard", 5), ("off", 3), ("off", 4)]
)
def test_too_many_at_once_abort_by_name_and_the_rest_try_again(letter: int, profile: str) -> None:
    gone = {f"dev-{i:02d}" for i in range(5)}
    world = World(9, mute=lambda name, n: name in gone and n == letter)
    closed = world.run(profile=profile)
    reasons = [a.reason for a in world.of(agg.Aborted)]
    if letter == 2:
        assert reasons == []
        assert closed is not None
        return
    assert reasons[0] in {"TooFewShares", "TooFewVectors", "TooFewAnswers"}
    assert closed is not None
    assert closed.attempt == 2
    assert set(closed.included) == {f"dev-{i:02d}" for i in range(5, 9)}
    assert np.allclose(closed.totals[0].mean, expected_mean(closed.included), atol=1e-3)


def test_two_devices_are_never_enough() -> None:
    world = World(2)
    assert world.run(devices=3) is None
    assert [a.reason for a in world.of(agg.Aborted)] == ["TooFewDevices"] * 3


def test_a_device_refuses_what_is_below_its_own_limits() -> None:
    for reason, limits, changes in [
        ("SmallCohort", {"smallest_cohort": 4}, {}),
        ("Unmasked", {"allow_unmasked": False}, {"profile": "off"}),
        ("WeakProfile", {"profile": "strict", "allow_unmasked": False}, {}),
        ("LowThreshold", {"smallest_threshold": 76}, {"floor": 4, "cap": 4}),
        (
            "TooMuchWork",
            {"max_epochs": 1},
            {"training": Training(epochs=2, batch_size=1, learning_rate=1, momentum=0, proximal=0)},
        ),
    ]:
        world = World(4, **limits)
        assert world.run(**changes) is None
        assert {r.reason for r in world.of(dev.Refused)} == {reason}


def test_replays_foreign_letters_and_noise_change_nothing() -> None:
    world = World(4)
    world.aggregator(world.start())
    letters = list(world.queue)
    seen: list[tuple[str, bytes]] = []
    while world.queue:
        to, data = world.queue.popleft()
        seen.append((to, data))
        if to.startswith("aggregator:"):
            name = to.partition(":")[2]
            for who, what in ((name, b"noise"), ("dev-09", data), (name, data[:-1] + b"?")):
                world.aggregator(agg.Arrived(device=who, data=what))
            world.aggregator(agg.Arrived(device=name, data=data))
        else:
            world.device(to, dev.Arrived(data=data[:-1] + b"?"))
            world.device(to, dev.Arrived(data=data))
    assert len(world.of(agg.Closed)) == 1
    assert len(world.of(agg.Log)) >= 3 * 4 * 5
    before = len(world.of(dev.Charge))
    for to, data in seen + letters:
        if not to.startswith("aggregator:"):
            world.device(to, dev.Arrived(data=data))
    assert len(world.of(dev.Charge)) == before
    assert not world.queue


@pytest.mark.parametrize("profile", ["standard", "strict"])
def test_a_device_that_is_enrolled_anew_while_others_join_takes_part_under_its_new_key(profile: str) -> None:
    """Its old JOIN goes: in a roster it would be verified by a key that signs no letter any more."""
    world = World(4)
    world.aggregator(world.start(profile=profile))
    held: list[tuple[str, bytes]] = []

    def until_nothing_comes() -> None:
        while world.queue:
            to, data = world.queue.popleft()
            if to.startswith("aggregator:"):
                if Envelope.decode(data).tag == TAG_OF[Join] and to.endswith("dev-02") and not held:
                    held.append((to, data))
                    continue
                world.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))
            else:
                world.device(to, dev.Arrived(data=data))

    [opening] = {data for _, data in world.queue}
    until_nothing_comes()
    assert world.sessions["dev-03"].stage is dev.Stage.JOINED
    world.enrol("dev-03", serial=9)
    world.device("dev-03", dev.Arrived(data=opening))
    until_nothing_comes()
    world.queue.extend(held)
    until_nothing_comes()
    [closed] = world.of(agg.Closed)
    assert closed.included == ("dev-00", "dev-01", "dev-02", "dev-03")
    assert not world.of(agg.Log)
    assert not world.of(dev.Refused)
