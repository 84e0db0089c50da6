"""The residual over every order of events and power cuts: nothing is lost or counted twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accord.plan import Update
from accord.update import feedback
from edge_sdk.residual import RESIDUAL, VECTORS, Flight, Kept, Residual
from edge_sdk.session_values import Forget, Keep

SIZE = 3
BUNDLE = bytes(32)
NOTHING = np.zeros(SIZE)


def update(feedback: int, line: int) -> Update:
    return Update(kind="low-rank", rank=1, feedback=feedback, support_digest=bytes(32), line=line)


def apply(files: dict[str, bytes], effects: Sequence[Keep | Forget]) -> None:
    for effect in effects:
        if isinstance(effect, Keep):
            files[effect.name] = effect.data
        else:
            for name in effect.names:
                files.pop(name, None)


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


def kept(job: str = "j", bundle: bytes = BUNDLE) -> dict[str, bytes]:
    """Return the files of a device that holds 1, 1, 1."""
    residual, files = Residual(job, bundle, SIZE), {}
    apply(files, residual.sends(bytes(32), np.ones(SIZE, np.float32)))
    apply(files, residual.settled(bytes(32), included=True))
    return files


def damaged() -> list[dict[str, bytes]]:
    files = kept()
    (vector,) = set(files) - {RESIDUAL}
    return [
        files | {RESIDUAL: files[RESIDUAL][:-1]},
        files | {RESIDUAL: b"noise"},
        files | {vector: files[vector][:-1]},
        {RESIDUAL: files[RESIDUAL]},
        {vector: files[vector]},
    ]


def test_another_job_or_bundle_or_a_damaged_file_begins_with_nothing() -> None:
    assert Residual("j", BUNDLE, SIZE, kept()).base(b"c" * 32) is not None
    for job, bundle, size, files in (
        ("other", BUNDLE, SIZE, kept()),
        ("j", b"b" * 32, SIZE, kept()),
        ("j", BUNDLE, SIZE + 1, kept()),
        *(("j", BUNDLE, SIZE, files) for files in damaged()),
    ):
        assert Residual(job, bundle, size, files).base(b"c" * 32) is None


def test_erased_is_gone_for_good() -> None:
    files = kept()
    residual = Residual("j", BUNDLE, SIZE, dict(files))
    apply(files, residual.sends(b"c" * 32, np.ones(SIZE, np.float32)))
    apply(files, residual.erase())
    assert set(files) == {RESIDUAL}
    assert residual.settled(b"c" * 32, included=True) == ()
    assert Residual("j", BUNDLE, SIZE, files).base(b"d" * 32) is None
    assert residual.erase() == ()


def test_what_is_left_behind_goes_from_the_disk_too() -> None:
    empty = Kept(job="j", bundle=BUNDLE, line=0, held=0, flights=()).encode()
    for data in (kept(job="other"), kept(bundle=b"b" * 32), *damaged()):
        for forgets in (
            Residual.erase,
            lambda residual: residual.only(()),
            lambda residual: residual.follows(update(0, 0)),
        ):
            residual, files = Residual("j", BUNDLE, SIZE, data), dict(data)
            apply(files, forgets(residual))
            assert files == {RESIDUAL: empty}
            assert forgets(residual) == ()


def test_what_is_left_behind_is_taken_for_no_vector_of_ones_own() -> None:
    residual, files = Residual("j", BUNDLE, SIZE, kept(job="other")), kept(job="other")
    apply(files, residual.sends(b"c" * 32, np.full(SIZE, 2, np.float32)))
    apply(files, residual.settled(b"c" * 32, included=True))
    found = Residual("j", BUNDLE, SIZE, files).base(b"d" * 32)
    assert found is not None
    assert found.tolist() == [2.0] * SIZE


def test_an_update_that_was_under_way_when_they_were_erased_leaves_nothing() -> None:
    residual = Residual("j", BUNDLE, SIZE, kept())
    residual.erase(under_way=b"c" * 32)
    assert residual.base(b"c" * 32) is None
    residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
    residual.settled(b"c" * 32, included=True)
    assert residual.base(b"d" * 32) is None
    residual.sends(b"d" * 32, np.ones(SIZE, np.float32))
    residual.settled(b"d" * 32, included=True)
    assert residual.base(b"e" * 32) is not None, "what is found from then on is kept again"


@pytest.mark.parametrize(
    ("feeds", "line", "stays"), [(10, 3, True), (1, 3, True), (10, 0, False), (10, 4, False), (0, 0, False)]
)
def test_a_plan_of_its_own_line_leaves_it_and_any_other_drops_it_with_what_is_in_flight(
    feeds: int, line: int, stays: bool
) -> None:
    residual, files = Residual("j", BUNDLE, SIZE), {}
    assert residual.follows(update(10, 3)) == (), "nothing was left so far"
    apply(files, residual.sends(b"a" * 32, np.ones(SIZE, np.float32)))
    apply(files, residual.settled(b"a" * 32, included=True))
    apply(files, residual.sends(b"b" * 32, np.ones(SIZE, np.float32)))
    residual = Residual("j", BUNDLE, SIZE, dict(files))
    effects = residual.follows(update(feeds, line))
    assert (effects == ()) is stays
    apply(files, effects)
    if not stays:
        assert Kept.decode(files.pop(RESIDUAL)) == Kept(job="j", bundle=BUNDLE, line=line, held=0, flights=())
        assert not files
    residual.settled(b"b" * 32, included=True)
    assert (residual.base(b"c" * 32) is not None) is stays, "a late RESULT brings nothing back"


def test_a_round_writes_one_vector_whatever_becomes_of_it() -> None:
    """A card wears out with what is written to it: what is held already is named, and not written again."""
    for included in (True, False):
        residual = Residual("j", BUNDLE, SIZE, kept())
        residual.base(b"c" * 32)
        effects = residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
        assert [e.name for e in effects if isinstance(e, Keep)] == [VECTORS[1], RESIDUAL]
        effects = residual.settled(b"c" * 32, included=included)
        assert [e.name for e in effects if isinstance(e, Keep)] == [RESIDUAL]
        assert effects[-1] == Forget(names=(VECTORS[0 if included else 1],))


def test_it_is_not_shown() -> None:
    assert repr(Residual("j", BUNDLE, SIZE, kept())) == "Residual(...)"
    data = feedback.encode(np.ones(SIZE, np.float32))
    assert repr(data) not in repr(Keep(name=VECTORS[0], data=data))
    assert Flight(context=bytes(32), before=0, after=1).before == 0
