"""The residual over every order of sending, results, absences and power cuts: nothing is lost or counted twice."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from accord.plan import Update
from accord.update import feedback
from edge_sdk.residual import Flight, Kept, Residual
from edge_sdk.session_values import Keep

SIZE = 3
BUNDLE = bytes(32)


class OneDevice(RuleBasedStateMachine):
    """What a device and the aggregator have between them, in whole numbers that binary16 holds exactly.

    The aggregator may have added an update to its sum without the device knowing: `sums` is what a sum could hold.
    Every change is either in one sum, or held, or in flight, or was dropped because its attempt failed or nobody knows.
    """

    @initialize()
    def begins(self) -> None:
        self.disk = b""
        self.count = 0
        self.sums = np.zeros(SIZE)
        self.due = np.zeros(SIZE)
        self.open: dict[bytes, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.residual = Residual("j", BUNDLE, SIZE, self.disk)

    def write(self, effects: tuple[Keep, ...]) -> None:
        for effect in effects:
            self.disk = effect.data

    def held(self) -> np.ndarray:
        found = self.residual._vector(self.residual._held)
        return np.zeros(SIZE) if found is None else found.astype(np.float64)

    @precondition(lambda self: len(self.open) < 2)
    @rule(
        change=st.lists(st.integers(-5, 5), min_size=SIZE, max_size=SIZE),
        sent=st.integers(0, SIZE - 1),
        cut=st.sampled_from(["", "before the file", "before the letter"]),
    )
    def works(self, change: list[int], sent: int, cut: str) -> None:
        """Send one coordinate of the change and of the residual; power may go before or after the file is written."""
        self.count += 1
        context = self.count.to_bytes(32, "big")
        before = self.held()
        base = self.residual.base(context)
        whole = np.array(change, np.float64) + (np.zeros(SIZE) if base is None else base)
        left = whole.copy()
        left[sent] = 0
        effects = self.residual.sends(context, left.astype(np.float32))
        if cut == "before the file":
            self.restarts(tuple(self.open))
            return
        self.write(effects)
        if cut == "before the letter":  # the same attempt is worked on once more, from the same files
            self.restarts((context, *self.open))
            again = self.residual.base(context)
            assert np.array_equal(np.zeros(SIZE) if again is None else again, before)
            self.write(self.residual.sends(context, left.astype(np.float32)))
        self.open[context] = (before, whole - left, left)
        self.due += np.array(change)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), included=st.booleans(), twice=st.booleans(), lost=st.booleans())
    def is_told(self, data: st.DataObject, included: bool, twice: bool, lost: bool) -> None:
        """RESULT comes, maybe again after a power cut that lost what it changed."""
        context = data.draw(st.sampled_from(sorted(self.open)))
        effects = self.residual.settled(context, included=included)
        if lost:
            self.restarts(tuple(self.open))
            effects = self.residual.settled(context, included=included)
        self.write(effects)
        if twice:
            assert self.residual.settled(context, included=included) == ()
        before, sent, left = self.open.pop(context)
        if included:
            self.sums += sent
        else:
            self.due -= sent + left - before  # the change was dropped with its attempt

    @precondition(lambda self: self.open)
    @rule(data=st.data(), included=st.booleans())
    def nobody_knows(self, data: st.DataObject, included: bool) -> None:
        """The device asks no more; the sum may hold the update or not."""
        context = data.draw(st.sampled_from(sorted(self.open)))
        self.write(self.residual.unknown(context))
        _, sent, left = self.open.pop(context)
        self.due -= left if included else sent + left
        self.sums += sent if included else 0

    @rule()
    def power_goes(self) -> None:
        self.restarts(tuple(self.open))

    def restarts(self, asked: tuple[bytes, ...]) -> None:
        self.residual = Residual("j", BUNDLE, SIZE, self.disk)
        self.write(self.residual.only(asked))

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        if not hasattr(self, "due"):
            return
        flying = sum((sent + left for _, sent, left in self.open.values()), np.zeros(SIZE))
        assert np.array_equal(self.sums + self.held() + flying, self.due)


OneDevice.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_one_device = OneDevice.TestCase


def kept(job: str = "j", bundle: bytes = BUNDLE) -> bytes:
    residual = Residual(job, bundle, SIZE)
    residual.sends(bytes(32), np.ones(SIZE, np.float32))
    (keep,) = residual.settled(bytes(32), included=True)
    return keep.data


def test_another_job_or_bundle_or_a_damaged_file_begins_with_nothing() -> None:
    assert Residual("j", BUNDLE, SIZE, kept()).base(b"c" * 32) is not None
    for job, bundle, size, data in (
        ("other", BUNDLE, SIZE, kept()),
        ("j", b"b" * 32, SIZE, kept()),
        ("j", BUNDLE, SIZE + 1, kept()),
        ("j", BUNDLE, SIZE, kept()[:-1]),
        ("j", BUNDLE, SIZE, b"noise"),
    ):
        assert Residual(job, bundle, size, data).base(b"c" * 32) is None


def test_erased_is_gone_for_good() -> None:
    residual = Residual("j", BUNDLE, SIZE, kept())
    residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
    (keep,) = residual.erase()
    assert residual.settled(b"c" * 32, included=True) == ()
    assert Residual("j", BUNDLE, SIZE, keep.data).base(b"d" * 32) is None
    assert residual.erase() == ()


def test_what_is_left_behind_goes_from_the_disk_too() -> None:
    for data in (kept(job="other"), kept(bundle=b"b" * 32), kept()[:-1]):
        for forgets in (Residual.erase, lambda residual: residual.only(())):
            residual = Residual("j", BUNDLE, SIZE, data)
            (keep,) = forgets(residual)
            assert keep.data == Kept(job="j", bundle=BUNDLE, line=0, held=b"", flights=()).encode()
            assert forgets(residual) == ()


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


def update(feedback: int, line: int) -> Update:
    return Update(kind="low-rank", rank=1, feedback=feedback, support_digest=bytes(32), line=line)


def test_a_plan_of_its_own_line_leaves_it_and_any_other_drops_it_with_what_is_in_flight() -> None:
    for feedback_of, line, kept_on in ((10, 3, True), (1, 3, True), (10, 0, False), (10, 4, False), (0, 0, False)):
        residual = Residual("j", BUNDLE, SIZE)
        assert residual.follows(update(10, 3)) == (), "nothing was left so far"
        residual.sends(b"a" * 32, np.ones(SIZE, np.float32))
        residual.settled(b"a" * 32, included=True)
        (keep,) = residual.sends(b"b" * 32, np.ones(SIZE, np.float32))
        residual = Residual("j", BUNDLE, SIZE, keep.data)
        effects = residual.follows(update(feedback_of, line))
        assert (effects == ()) is kept_on, (feedback_of, line)
        for effect in effects:
            found = Kept.decode(effect.data)
            assert (found.line, found.held, found.flights) == (line, b"", ())
        residual.settled(b"b" * 32, included=True)
        assert (residual.base(b"c" * 32) is not None) is kept_on, "a late RESULT brings nothing back"


def test_what_a_rollback_discarded_stays_dropped_over_a_power_cut_and_what_comes_after_is_kept() -> None:
    residual = Residual("j", BUNDLE, SIZE, kept())
    (keep,) = residual.follows(update(10, 5))
    residual = Residual("j", BUNDLE, SIZE, keep.data)
    assert residual.follows(update(10, 5)) == ()
    assert residual.base(b"c" * 32) is None
    (keep,) = residual.sends(b"c" * 32, np.ones(SIZE, np.float32))
    residual = Residual("j", BUNDLE, SIZE, keep.data)
    residual.settled(b"c" * 32, included=True)
    assert residual.follows(update(10, 5)) == ()
    assert residual.base(b"d" * 32) is not None


def test_it_is_not_shown() -> None:
    assert repr(Residual("j", BUNDLE, SIZE, kept())) == "Residual(...)"
    assert "after" not in repr(Flight(context=bytes(32), before=b"", after=feedback.encode(np.ones(SIZE, np.float32))))
