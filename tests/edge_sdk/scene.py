"""One device of three in its second round, which does only what the test tells it, and every event it may meet."""

import dataclasses
from collections import deque

import numpy as np

from accord.records import Record
from accord.wire.envelope import Envelope
from accord.wire.messages import CheckIn, Later, Offer, Opening, opened
from accord.wire.secure_sum import Quorum, Result, Roster, Shares, Survivors
from aggregator import coordinator_values as agg
from edge_sdk import session_values as dev
from edge_sdk.session_values import Stage
from tests.fleet.queue_world import LAYOUT, World

ME = "dev-00"
ORDER = ("opening", "fetched", "plan", "roster", "shares", "worked", "survivors", "quorum", "result")


class Scene(World):
    """Three devices in their second round; what comes for dev-00 waits in `mail` until the test hands it over."""

    def __init__(self, profile: str) -> None:
        super().__init__(3)
        self.profile = profile
        self.mail: deque[dev.Event] = deque()
        self.letters: list[bytes] = []
        self.session = self.sessions[ME]
        self.begin()
        while self.mail:
            self.hand_over()
        params = np.ones(LAYOUT.size, "<f4").tobytes()
        self.coordinator.release(params, 1)
        self.letters.clear()
        self.begin()

    def begin(self) -> None:
        opening = self.start(profile=self.profile)
        self.aggregator(dataclasses.replace(opening, seed=bytes([len(self.letters)] * 32)))
        self.settle()

    def settle(self) -> None:
        while self.queue:
            to, data = self.queue.popleft()
            if to == ME:
                self.mail.append(dev.Arrived(data=data))
            elif to.startswith("aggregator:"):
                self.aggregator(agg.Arrived(device=to.partition(":")[2], data=data))
            else:
                self.device(to, dev.Arrived(data=data))

    def hand_over(self) -> tuple[dev.Effect, ...]:
        return self.take(self.mail.popleft())

    def take(self, event: dev.Event) -> tuple[dev.Effect, ...]:
        effects = self.session.step(event)
        for effect in effects:
            match effect:
                case dev.Send(data=data):
                    self.letters.append(data)
                    self.queue.append(("aggregator:" + ME, data))
                case dev.Fetch(params_digest=params, bundle_digest=bundle):
                    self.mail.append(dev.Fetched(params_digest=params, bundle_digest=bundle))
                case dev.Work():
                    self.mail.append(dev.Worked(found=self.contribution(ME)))
                case _:
                    self.log.append(effect)
        self.settle()
        return effects

    def at(self, stage: Stage) -> "Scene":
        if stage is Stage.WITHDRAWN:
            self.at(Stage.WORKING).mail.clear()
            self.take(dev.GaveUp(reason="the disk is full"))
        while self.session.stage is not stage:
            self.hand_over()
        return self

    def to_the_end(self) -> list[bytes]:
        while self.mail:
            self.hand_over()
        return self.letters


def events(profile: str) -> dict[str, dev.Event]:
    """Play two honest rounds and return every event of the second, valid and stale, by its name in the tables."""
    left_out = {"standard": {"quorum"}, "strict": set(), "off": {"shares", "quorum"}}[profile]
    order = tuple(name for name in ORDER if name not in left_out)
    heard: list[list[dev.Event]] = []

    class Recorded(Scene):
        def begin(self) -> None:
            heard.append([])
            super().begin()

        def take(self, event: dev.Event) -> tuple[dev.Effect, ...]:
            heard[-1].append(event)
            return super().take(event)

    scene = Recorded(profile)
    letters = scene.to_the_end()
    first, second = (dict(zip(order, found, strict=True)) for found in heard)
    check_in = opened(Envelope.decode(letters[0]), CheckIn)
    desk = scene.coordinator.desk

    def bent(name: str, kind: type[Record], recipient: str = ME, **changes: object) -> dev.Arrived:
        event = second[name]
        assert isinstance(event, dev.Arrived)
        letter = Envelope.decode(event.data)
        message = dataclasses.replace(opened(letter, kind), **changes)
        return dev.Arrived(data=desk.sealed(message, recipient, letter.context))

    roster = second["roster"]
    assert isinstance(roster, dev.Arrived)
    early = desk.sealed(
        Result(status="aborted", reason="TooFewShares", included=False, survivors=b"", transcript=bytes(32)),
        ME,
        Envelope.decode(roster.data).context,
    )
    found = {
        **second,
        **{name + "-old": event for name, event in first.items() if name != "worked"},
        "opening-next": bent("opening", Opening, "j", round=3),
        "opening-foreign": bent("opening", Opening, "j", round=3, bundle_digest=bytes(32)),
        "later": dev.Arrived(data=desk.sealed(Later(nonce=check_in.nonce, reason="full"), ME)),
        "later-old": dev.Arrived(data=desk.sealed(Later(nonce=bytes(16), reason="full"), ME)),
        "later-stray": dev.Arrived(data=desk.sealed(Later(nonce=check_in.nonce, reason="full"), "dev-01")),
        "gave-up": dev.GaveUp(reason="the disk is full"),
        "result-early": dev.Arrived(data=early),
    }
    if profile == "strict":
        cohort = Envelope.decode(roster.data).recipient
        found["survivors-other"] = bent("survivors", Survivors, cohort, survivors=b"\x03")
    kinds = {
        "plan": Offer,
        "roster": Roster,
        "shares": Shares,
        "survivors": Survivors,
        "quorum": Quorum,
        "result": Result,
    }
    return found | {f"{name}-stray": bent(name, kind, "dev-01") for name, kind in kinds.items() if name in order}
