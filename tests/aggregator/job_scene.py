"""A coordinator and four devices in their second round; the letters of dev-00 wait until the test hands them over."""

import dataclasses
from collections import deque

import numpy as np

from accord.entropy import SeededEntropy
from accord.secagg import keys
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import opened
from accord.wire.secure_sum import Join
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from tests.fleet.queue_world import LAYOUT, World

ME = "dev-00"
STAGES = ("idle", "inviting", "joining", "sharing", "collecting", "unmasking")
LETTERS = ("check-in", "join", "share", "masked", "unmask")
"""What dev-00 sends in a round, in order; each is what the stage in the same place after `idle` waits for."""


class Scene(World):
    """Everybody but dev-00 answers at once: each stage waits for dev-00 alone. `last` is what it was sent last."""

    def __init__(self, profile: str) -> None:
        super().__init__(4)
        self.profile = profile
        self.held: deque[bytes] = deque()
        self.mine: list[list[bytes]] = []
        self.last = b""
        self.begin()
        while self.held:
            self.hand_over()
        self.coordinator.release(np.ones(LAYOUT.size, "<f4").tobytes(), 1)

    def begin(self) -> None:
        self.mine.append([])
        self.aggregator(self.opening())
        self.settle()

    def opening(self) -> agg.Start:
        everybody = tuple(f"dev-{i:02d}" for i in range(4))
        seed = bytes([self.coordinator.round] * 32)
        return dataclasses.replace(self.start(profile=self.profile), online=everybody, seed=seed)

    def settle(self) -> None:
        while self.queue:
            to, data = self.queue.popleft()
            if to == "aggregator:" + ME:
                self.held.append(data)
                self.mine[-1].append(data)
            elif to.startswith("aggregator:"):
                self.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))
            elif to in self.sessions:
                self.last = data if to == ME and Envelope.decode(data).tag != "opening/1" else self.last
                self.device(to, dev.Arrived(data=data))

    def hand_over(self) -> None:
        self.aggregator(agg.Arrived(device=ME, data=self.held.popleft()))
        self.settle()

    @property
    def stage(self) -> str:
        attempt = self.coordinator._attempt
        if attempt is None:
            return "idle"
        if attempt.cohorts:
            (cohort,) = attempt.cohorts.values()
            return cohort.state.phase.value
        return "joining" if ME in attempt.offered else "inviting"

    def at(self, stage: str) -> "Scene":
        if stage != "idle":
            self.begin()
        while self.stage != stage:
            self.hand_over()
        return self

    def to_the_end(self) -> agg.Closed:
        if self.stage == "idle" and self.coordinator.round == 1:
            self.begin()
        while self.held:
            self.hand_over()
        closed = self.log[-1] if isinstance(self.log[-1], agg.Closed) else self.of(agg.Closed)[-1]
        assert isinstance(closed, agg.Closed)
        return closed

    def take(self, event: agg.Event) -> list[object]:
        """Give the coordinator one event and return what it tells, and the letters that it sends to dev-00."""
        before = len(self.log)
        waiting = len(self.queue)
        self.aggregator(event)
        letters = [Envelope.decode(data) for to, data in list(self.queue)[waiting:] if to == ME]
        return [*self.log[before:], *letters]


def events(profile: str) -> dict[str, agg.Event]:
    """Play two honest rounds and return every event that dev-00 can cause, valid and stale, by its name."""
    scene = Scene(profile)
    scene.to_the_end()
    order = [name for name in LETTERS if profile == "standard" or name != "share"]
    first, second = (dict(zip(order, letters, strict=True)) for letters in scene.mine)
    identity = scene.sessions[ME].identity

    def signed(tag: str, payload: bytes, context: bytes = bytes(32)) -> bytes:
        return seal(tag, payload, key=identity.key, sender=ME, recipient="aggregator", context=context).encode()

    join = Envelope.decode(second["join"])
    entropy = SeededEntropy(77)
    other = Join(
        mask_key=keys.new_pair(entropy).public,
        seal_key=keys.new_pair(entropy).public,
        certificate=opened(join, Join).certificate,
    )
    twin = Join(mask_key=other.mask_key, seal_key=other.mask_key, certificate=other.certificate)
    bytes_of = {
        **second,
        **{name + "-old": data for name, data in first.items()},
        **{name + "-forged": data[:-1] + bytes([data[-1] ^ 1]) for name, data in second.items()},
        "join-other": signed(join.tag, other.encode(), join.context),
        "join-twin": signed(join.tag, twin.encode(), join.context),
        "plan": signed("plan/1", b""),
        "noise": b"noise",
    }
    found: dict[str, agg.Event] = {name: agg.Arrived(device=ME, data=data) for name, data in bytes_of.items()}
    return found | {
        "foreign-topic": agg.Arrived(device="dev-01", data=second["check-in"]),
        "unknown": agg.Arrived(device="dev-99", data=second["check-in"]),
        "gone": agg.Presence(device=ME, online=False),
        "back": agg.Presence(device=ME, online=True),
        "tick": agg.Tick(),
    }
