"""A cohort of five devices in any phase of its round, reached with real letters, and every event it may meet there."""

import dataclasses

import numpy as np

from accord.secagg import client, ring, unmasked
from accord.update import packing
from accord.wire.check_in import Withdraw
from accord.wire.secure_sum import Consistency, Masked, Quorum, Survivors, Unmask
from aggregator.round import TRANSITIONS, begin, begin_unmasked, step
from aggregator.round_values import (
    Back,
    Effect,
    Event,
    Gone,
    Message,
    Opened,
    Phase,
    Received,
    Tick,
    ToCohort,
    ToDevice,
    Windows,
)
from tests.secagg.driven_cohort import BITS, CONTEXT, LENGTH, SEAL, Fleet
from tests.update.test_pipeline import PLAN

NAMES = tuple(f"dev-{place:03d}" for place in range(8))
WINDOWS = Windows(share=10, collect=20, confirm=25, unmask=30, grace=2)
EARLY = {"standard": (0, 1, 2), "strict": (0, 1, 2, 5, 6, 7), "off": (0, 1, 2)}
"""Who answers first: as many as are enough."""


class Scene:
    """Five devices, eight in profile `strict`, and their cohort; dev-004 shares and is then silent, or never speaks."""

    def __init__(self, profile: str) -> None:
        self.profile, self.now = profile, 0.0
        self.early = EARLY[profile]
        self.names = NAMES[: max(self.early[-1], 4) + 1]
        self.included = tuple(name for name in self.names if name != NAMES[4])
        self.fleet = Fleet(len(self.names), "strict" if profile == "strict" else "standard")
        self.effects: list[Effect] = []
        self.sharing = self.fleet.share(len(self.names))
        self.answers: dict[str, Unmask] = {}
        self.letters: dict[str, Masked] = {}
        self.unmasking: dict[str, client.Unmasking] = {}
        self.confirmed: dict[str, client.Confirmed] = {}
        plan = dataclasses.replace(PLAN, profile=profile)
        if profile == "off":
            self.context = unmasked.second_context(CONTEXT, "c-1")
            seals = {d.device: d.sealing.public for d in self.fleet.joining}
            self.state = begin_unmasked(
                plan,
                "c-1",
                self.context,
                seals,
                length=LENGTH,
                unpack=lambda data: packing.unpack(data, LENGTH, plan.fixed.modulus_bits),
                windows=WINDOWS,
                seal_pair=SEAL,
                now=0.0,
            )
        else:
            self.state = begin(plan, self.fleet.cohort, length=LENGTH, windows=WINDOWS, seal_pair=SEAL, now=0.0)

    def take(self, event: Event) -> tuple[Effect, ...]:
        self.state, effects = step(self.state, event, self.now)
        self.effects += effects
        return effects

    def receive(self, device: str, message: Message) -> tuple[Effect, ...]:
        return self.take(self.received(device, message))

    def received(self, device: str, message: Message) -> Received:
        signature = b""
        if isinstance(message, Consistency) and device in self.names:
            signature = self.fleet.signature(NAMES.index(device), message)
        return Received(device=device, message=message, signature=signature)

    def message(self, place: int) -> Message:
        """Return what an honest device sends in this phase."""
        name = NAMES[place]
        if self.state.phase is Phase.SHARING:
            return self.sharing[place].message
        if self.state.phase is Phase.COLLECTING:
            return self.masked(place)
        if self.state.phase is Phase.CONFIRMING:
            return Consistency(survivors=self.state.survivors)
        return Unmask(sealed=b"") if self.profile == "off" else self.answers[name]

    def masked(self, place: int) -> Masked:
        name, vector = NAMES[place], self.fleet.vectors[place]
        if name not in self.letters and self.profile == "off":
            self.letters[name] = self.locked(packing.pack(vector, BITS), place)
        elif name not in self.letters:
            shares = next(e.message for e in self.effects if isinstance(e, ToDevice) and e.device == name)
            self.unmasking[name], found, dealers = self.sharing[place].shares(shares).mask(vector, BITS)
            self.letters[name] = Masked(dealers=dealers, vector=packing.pack(found, BITS))
        return self.letters[name]

    def answer_survivors(self) -> None:
        """Let every survivor do what follows from what the cohort was told last."""
        told = [e.message for e in self.effects if isinstance(e, ToCohort)][-1]
        for name in self.state.expected if self.profile != "off" else ():
            match told:
                case Quorum():
                    self.answers[name] = self.confirmed[name].quorum(told, SEAL.public)[1]
                case Survivors() if self.profile == "strict":
                    self.confirmed[name], _ = self.unmasking[name].confirm(told)
                case Survivors():
                    self.answers[name] = self.unmasking[name].survivors(told, SEAL.public)[1]

    def sum_of(self, names: tuple[str, ...]) -> ring.Ring:
        return sum(self.fleet.vectors[NAMES.index(name)] for name in names) % 2**BITS

    def close(self, silent: tuple[int, ...]) -> None:
        """Let every expected device answer but the silent ones, and the deadline pass."""
        before = self.state.phase
        for name in self.state.expected:
            if NAMES.index(name) not in silent and self.state.phase is before:
                self.receive(name, self.message(NAMES.index(name)))
        if self.state.phase is before:
            self.now = self.state.deadline
            self.take(Tick())
        if self.state.phase is not before and self.state.phase in (Phase.CONFIRMING, Phase.UNMASKING):
            self.answer_survivors()

    def at(self, phase: Phase) -> "Scene":
        """Bring the cohort to `phase`, where the early ones have answered; dev-004 dies before its vector."""
        if phase is Phase.ABORTED:
            self.close(silent=tuple(range(8)))
            return self
        while self.state.phase is not phase:
            self.close(silent=(4,) if self.state.phase is not Phase.SHARING else ())
        if phase is not Phase.CLOSED:
            for place in self.early:
                assert self.receive(NAMES[place], self.message(place)) == ()
        return self

    def event(self, name: str) -> Event:  # noqa: C901, PLR0911, PLR0912 - the events, one after another
        kind, _, how = name.partition("-")
        match name:
            case "gone":
                return Gone(device=NAMES[3])
            case "back":
                return Back(device=NAMES[3])
            case "tick":
                self.now += 1
                return Tick()
            case "tick-grace":
                for place in (3, 4):
                    self.take(Gone(device=NAMES[place]))
                self.now += WINDOWS.grace
                return Tick()
            case "tick-deadline":
                self.now = self.state.deadline
                return Tick()
        if kind == "withdraw":
            who = {"late": NAMES[0], "stranger": "dev-900"}.get(how, NAMES[4])
            return Received(device=who, message=Withdraw(reason="OutOfMemory"))
        place = 0 if how in {"again", "changed"} else 3
        device = {"stranger": "dev-900", "undealt": NAMES[4], "dead": NAMES[4]}.get(how, NAMES[place])
        message: Message
        if kind == "share":
            message = self.sharing[place].message
            if how == "changed":
                message = dataclasses.replace(message, commitment=bytes(32))
            elif how == "short":
                message = dataclasses.replace(message, sealed=())
        elif kind == "masked":
            own = self.state.phase is Phase.COLLECTING and how != "undealt"
            empty = Masked(dealers=b"\x0f", vector=packing.pack(np.zeros(LENGTH, np.uint32), BITS))
            message = self.masked(place) if own else empty
            if how == "changed":
                message = self.other_vector(message)
            elif how == "dealers":
                message = dataclasses.replace(message, dealers=b"\x0f")
            elif how == "garbage":
                message = dataclasses.replace(message, vector=bytes(len(message.vector)))
            elif how == "short":
                message = self.short(message)
        elif kind == "consistency":
            message = Consistency(survivors=b"\x07" if how == "changed" else self.state.survivors or b"\xef")
        else:
            message = self.answers.get(NAMES[place], Unmask(sealed=b""))
            if how in {"changed", "garbage"}:
                message = Unmask(sealed=bytes(64))
        return self.received(device, message)

    def other_vector(self, message: Masked) -> Masked:
        if self.profile != "off":
            return dataclasses.replace(message, vector=bytes(len(message.vector)))
        return self.locked(packing.pack(np.zeros(LENGTH, np.uint32), BITS), 0)

    def short(self, message: Masked) -> Masked:
        if self.profile != "off":
            return dataclasses.replace(message, vector=message.vector[:-1])
        return self.locked(b"short", 3)

    def locked(self, packed: bytes, place: int) -> Masked:
        sealing = self.fleet.joining[place].sealing
        data = unmasked.sealed_update(sealing, SEAL.public, self.context, NAMES[place], packed)
        return Masked(dealers=b"\x00", vector=data)

    def to_the_end(self) -> Opened:
        while TRANSITIONS[self.state.phase]:
            self.close(silent=(4,))
        opened = self.effects[-1]
        assert isinstance(opened, Opened), opened
        return opened
