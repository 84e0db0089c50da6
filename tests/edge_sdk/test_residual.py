"""The residual over every order of events and power cuts: nothing is lost or counted twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_sdk.residual import RESIDUAL, VECTORS, Kept, Residual
from edge_sdk.session_values import Forget, Keep
from tests.edge_sdk.residual_disk import BUNDLE, NOTHING, SIZE, apply, update


@dataclass
class Sent:
    """An update as the model of this test knows it: what was taken out for it, what is in it, what it leaves."""

    before: np.ndarray
    sent: np.ndarray
    left: np.ndarray
    masked: bool = True


class OneDevice(RuleBasedStateMachine):
    """A plain model of one device, in whole numbers that binary16 holds exactly, beside the code and its files.

    `held` is what the next update must add. `sums` is what the aggregate has, `due` what it must have once all that is
    held and in flight has come: every change that was trained, but for those whose attempt failed, whose fate nobody
    knows, and which a rollback or a plan without feedback has discarded. The power may go at any write.
    """

    @initialize()
    def begins(self) -> None:
        self.files: dict[str, bytes] = {}
        self.count, self.line = 0, 0
        self.sums, self.due, self.held = NOTHING.copy(), NOTHING.copy(), NOTHING.copy()
        self.flights: dict[bytes, Sent] = {}
        self.residual = self.switched_on()

    def switched_on(self) -> Residual:
        return Residual("j", BUNDLE, SIZE, dict(self.files))

    def restarts(self) -> None:
        self.residual = self.switched_on()
        apply(self.files, self.residual.only(self.flights))
        kept = Kept.decode(self.files[RESIDUAL]) if RESIDUAL in self.files else None
        named = set() if kept is None else {VECTORS[number - 1] for number in kept.vectors}
        assert set(self.files) - {RESIDUAL} == named, "no vector stays that nothing names"

    def writes(self, effects: Sequence[Keep | Forget], cut: int) -> bool:
        """Carry effects out in order, unless power goes before one of them: then the device is switched on again."""
        lost = cut < sum(1 if isinstance(e, Keep) else len(e.names) for e in effects)
        acts = [
            act
            for e in effects
            for act in ([e] if isinstance(e, Keep) else [Forget(names=(name,)) for name in e.names])
        ]
        done = acts[:cut] if lost else acts
        apply(self.files, done)
        named = any(isinstance(act, Keep) and act.name == RESIDUAL for act in done)
        if lost:
            self.residual = self.switched_on()
        return named or not effects

    cuts = st.one_of(st.just(9), st.integers(0, 3))

    @precondition(lambda self: len(self.flights) < 2)
    @rule(change=st.lists(st.integers(-5, 5), min_size=SIZE, max_size=SIZE), sent=st.integers(0, SIZE - 1), cut=cuts)
    def works(self, change: list[int], sent: int, cut: int) -> None:
        """Send one coordinate of the change and of the residual. Cut short before the letter, it is worked on again."""
        self.count += 1
        context = self.count.to_bytes(32, "big")
        assert self.residual.follows(update(10, self.line)) == (), "the plan of this attempt is of the same line"
        left = self.adds(context, change, sent)
        if not self.writes(self.residual.sends(context, left.astype(np.float32)), cut):
            self.restarts()  # nothing of it is on the disk
            return
        if cut < 9:  # it is, and `masked` is not: other work is done in the same attempt
            apply(self.files, self.residual.only((context, *self.flights)))
            left = self.adds(context, [number + 1 for number in change], sent)
            self.writes(self.residual.sends(context, left.astype(np.float32)), 9)
            change = [number + 1 for number in change]
        whole = self.held + change
        self.flights[context] = Sent(self.held, whole - left, left)
        self.held = NOTHING.copy()
        self.due += change

    def adds(self, context: bytes, change: list[int], sent: int) -> np.ndarray:
        """Return what is left of the change and of what is added to it, which is what the model holds."""
        base = self.residual.base(context)
        added = NOTHING if base is None else base.astype(np.float64)
        assert np.array_equal(added, self.held), "what is held is added, all of it and nothing else"
        left = added + change
        left[sent] = 0
        return left

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), included=st.booleans(), twice=st.booleans(), cut=cuts)
    def is_told(self, data: st.DataObject, included: bool, twice: bool, cut: int) -> None:
        """RESULT comes; again after a power cut, whether the first one is on the disk or not."""
        context = data.draw(st.sampled_from(sorted(self.flights)))
        kept = self.writes(self.residual.settled(context, included=included), cut)
        if cut < 9 and not kept:
            apply(self.files, self.residual.settled(context, included=included))
        if twice:
            assert self.residual.settled(context, included=included) == ()
            assert self.residual.settled(context, included=not included) == ()
        flight = self.flights.pop(context)
        self.held = self.held + (flight.left if included else flight.before)
        self.ends(flight, included)
        if not included:
            self.due += flight.before  # the change alone was dropped, with its attempt
        else:
            self.due += flight.left

    def ends(self, flight: Sent, included: bool) -> None:
        """An update is in flight no more: what was in it has come, or is due no more; nor is what it left."""
        self.due -= flight.left if included else flight.sent + flight.left
        self.sums = self.sums + (flight.sent if included else NOTHING)

    @precondition(lambda self: self.flights)
    @rule(data=st.data(), included=st.booleans(), cut=cuts)
    def nobody_knows(self, data: st.DataObject, included: bool, cut: int) -> None:
        """The device asks no more; the sum may hold the update or not."""
        context = data.draw(st.sampled_from(sorted(self.flights)))
        self.writes(self.residual.unknown(context), cut)
        self.ends(self.flights.pop(context), included)
        self.restarts()
        assert self.residual.settled(context, included=True) == (), "it comes too late"

    @rule(back=st.booleans(), feeds=st.booleans(), cut=cuts, data=st.data())
    def takes_a_plan(self, back: bool, feeds: bool, cut: int, data: st.DataObject) -> None:
        """A plan of the same line leaves all as it is; after a rollback, or without feedback, all of it goes."""
        line = self.line + back if feeds else 0
        plan = update(10 if feeds else 0, line)
        effects = self.residual.follows(plan)
        if not self.writes(effects, cut):
            apply(self.files, self.residual.follows(plan))  # the plan comes again
        if feeds and line == self.line:
            assert effects == ()
            return
        self.line = line
        for context in tuple(self.flights):
            self.ends(self.flights.pop(context), data.draw(st.booleans()))
            assert self.residual.settled(context, included=data.draw(st.booleans())) == ()
        self.due, self.held = self.due - self.held, NOTHING.copy()
        if cut < 9:
            self.residual = self.switched_on()
            self.residual.follows(plan)

    @rule(cut=cuts)
    def examples_are_erased(self, cut: int) -> None:
        if not self.writes(self.residual.erase(), cut):
            apply(self.files, self.residual.erase())
        for context in tuple(self.flights):
            self.ends(self.flights.pop(context), included=True)
            assert self.residual.settled(context, included=True) == (), "it comes too late"
        self.due, self.held = self.due - self.held, NOTHING.copy()

    @rule()
    def power_goes(self) -> None:
        self.restarts()

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        if not hasattr(self, "due"):
            return
        flying = sum((one.sent + one.left for one in self.flights.values()), NOTHING)
        assert np.array_equal(self.sums + self.held + flying, self.due)
        for residual in (self.residual, self.switched_on()):
            found = residual._vector(residual._held)
            assert np.array_equal(NOTHING if found is None else found, self.held)
            assert residual._flights.keys() == self.flights.keys()


OneDevice.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
test_one_device = OneDevice.TestCase
