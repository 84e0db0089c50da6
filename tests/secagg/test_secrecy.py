"""A server that mixes honest and hostile moves at random opens no sum below what each profile promises.

What is promised stands in docs/threats.md. Small rosters are tried through on paper; larger and longer plays are drawn
at random against the real stages of the device, in several attempts, with colluders whose secrets the server knows.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accord.secagg import graph, participation, quorum
from accord.secagg.client import Unmasking
from tests.secagg.lying_server import PROFILES, Cohort, LyingServer
from tests.secagg.secrecy import (
    STRICT,
    colluders_borne,
    fewest,
    isolating,
    smallest_with_one_set,
    threshold,
)

FLOOR = 3
HALVES = (*(1 << number for number in range(6)), *(1 << number for number in range(6)), *range(64))
"""Which devices hear something else: one as often as any number of them."""


class LeakError(AssertionError):
    """The server can open what it must not."""


class Play(RuleBasedStateMachine):
    """One server; `one_set` has it show one survivor set in each cohort, whatever else it lies about."""

    profile = "standard"
    one_set = True
    sizes = (3, 4, 5, 6)
    floors = (3, 4, 5, 6)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        n = data.draw(st.sampled_from(self.sizes))
        bad = data.draw(st.integers(0, min(n - 2, colluders_borne(n, self.profile))))
        self.server = LyingServer(n, bad, min(n, data.draw(st.sampled_from(self.floors))), self.profile)

    def numbers(self, left_out: int) -> frozenset[int]:
        return frozenset(number for number in range(self.server.n) if not left_out >> number & 1)

    @rule(odd=st.sampled_from(HALVES), less=st.integers(0, 63), common=st.integers(0, 63), lied=st.integers(0, 3))
    def go_on(self, odd: int, less: int, common: int, lied: int) -> None:
        """All go one step further: they are told the truth, or some of them less than that, or all of them."""
        server = self.server
        for number in range(server.colluders, server.n):
            whole = self.numbers(common) if lied & 1 else None
            told = self.numbers(less) if lied & 2 and odd >> number & 1 else whole
            server.tell(number, told, one_set=self.one_set)

    @rule(number=st.integers(0, 5), less=st.integers(0, 63))
    def lie(self, number: int, less: int) -> None:
        """One device is told of less than all members, dealers or survivors, with itself in it or not."""
        server = self.server
        server.tell(max(server.colluders, number % server.n), self.numbers(less), one_set=self.one_set)

    @rule(going=st.integers(0, 63))
    def some_go_on(self, going: int) -> None:
        """Some go one step further with the truth; the others have dropped, for now or for good."""
        for number in self.numbers(going):
            if number >= self.server.colluders:
                self.server.tell(number, None, one_set=self.one_set)

    @rule(less=st.integers(0, 63))
    def ask_all_again(self, less: int) -> None:
        """Whoever has answered in this attempt hears a second survivor set."""
        for at in self.server.unmasking():
            self.server.tell_again(at, self.numbers(less), one_set=self.one_set)

    @precondition(lambda self: self.server.past)
    @rule(data=st.data())
    def say_it_again(self, data: st.DataObject) -> None:
        """A device hears something again, as it was or changed, of this attempt or an earlier one."""
        server = self.server
        at = data.draw(st.integers(0, len(server.past) - 1))
        server.tell_again(at, self.numbers(data.draw(st.integers(0, 63))), one_set=self.one_set)

    @precondition(lambda self: self.server.attempt < 3)
    @rule()
    def begin_again(self) -> None:
        """A false abort: everybody joins another attempt."""
        self.server.begin()

    @invariant()
    def nothing_small_is_open(self) -> None:
        for found in self.server.cohorts.values() if hasattr(self, "server") else ():
            if found.changed:
                found.changed = False
                self.check(found)

    def check(self, found: Cohort) -> None:
        server, n = self.server, len(found.numbers)
        bad = len(found.bad)
        opened = found.opened()
        if bad > colluders_borne(n, self.profile):
            return  # a roster that was cut to a few devices, most of them the server's: nothing is promised
        if found.both():
            raise LeakError(f"both secrets of {found.both()} of {n} with {bad} colluders")
        if self.one_set or self.profile == STRICT:
            least = fewest(n, server.floor, bad, self.profile)
            small = [places for places in opened if len(places) < least]
            if small:
                raise LeakError(f"{small} of {n}, of whom {bad} collude; at least {least} are promised")


def machine(profile: str, *, one_set: bool, **narrowed: tuple[int, ...]) -> type[Play]:
    """Return the machine of one profile."""
    return type(f"Play_{profile}", (Play,), {"profile": profile, "one_set": one_set} | narrowed)


def play(kind: type[Play], examples: int, steps: int = 24) -> None:
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("one_set", [True, False])
def test_a_server_that_plays_at_random_opens_nothing_small(profile: str, one_set: bool) -> None:
    play(machine(profile, one_set=one_set), 60)


@pytest.mark.parametrize("profile", PROFILES)
def test_an_honest_server_opens_the_sum_of_all_survivors_and_nothing_else(profile: str) -> None:
    """The oracle sees what is open: one device drops out before its vector, one before its answer, and one colludes."""
    server = LyingServer(7, 1, FLOOR, profile)
    for step in range(5):
        for number in range(1, 7 - (step >= 2) - (step >= 3 and profile != STRICT)):
            server.tell(number, None)
    [cohort] = server.cohorts.values()
    assert cohort.opened() == [frozenset(range(1, 6))]
    assert not cohort.both()
    assert not server.refusals


@pytest.mark.parametrize("profile", ["standard", STRICT])
@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_with_one_survivor_set_no_small_roster_opens_fewer_than_is_promised(n: int, profile: str) -> None:
    """Every survivor set, every choice of dealers and every dropout, with as many colluders as the profile bears.

    Profile `strict` comes to the same: two quorums of signatures have an honest device in common, who signs once.
    """
    t = threshold(n, profile)
    for bad in range(colluders_borne(n, profile) + 1):
        for floor in range(FLOOR, n + 1):
            promised = fewest(n, floor, bad, profile)
            assert smallest_with_one_set(n, floor, bad, t) >= min(promised, n - bad)
        if profile == STRICT:
            honest = n - bad
            assert not any(min(a, honest - a) + bad >= t for a in range(honest + 1)), "two quorums"


ISOLATED = {(5, 3, 0): True, (6, 3, 1): True, (3, 3, 0): False, (4, 3, 0): False, (4, 3, 1): False, (6, 3, 0): False}
"""(members, floor, colluders): whether two survivor sets isolate a device in profile `standard`."""


@pytest.mark.parametrize(("case", "possible"), ISOLATED.items())
def test_two_survivor_sets_isolate_a_device_in_standard_and_not_in_strict(
    case: tuple[int, int, int], possible: bool
) -> None:
    n, floor, bad = case
    how = isolating(n, floor, bad, threshold(n, "standard"))
    assert (how is not None) is possible
    if how is None:
        return
    for profile in PROFILES:
        server = LyingServer(n, bad, floor, profile)
        follow(server, how)
        opened = [places for found in server.cohorts.values() for places in found.opened()]
        if profile == STRICT:
            assert not opened
        else:
            assert frozenset((n - 1,)) in opened, "the vector of one device was read, without masks"
            assert not server.refusals, "and nobody could tell"


def test_a_floor_above_what_a_split_can_leave_out_isolates_nobody() -> None:
    """Where no survivor set may leave out more than one member, two sets can't leave everybody out."""
    for n in (5, 6):
        for bad in range(colluders_borne(n, "standard") + 1):
            assert isolating(n, n - 1, bad, threshold(n, "standard")) is None
            assert isolating(n, n, bad, threshold(n, "standard")) is None


def follow(server: LyingServer, how: dict[int, tuple[frozenset[int], frozenset[int]]]) -> None:
    """Do with real devices what was found on paper."""
    honest = range(server.colluders, server.n)
    for number in honest:
        server.tell(number, None)
    for step in ("shares", "mask", "survivors", "quorum"):
        for number in honest:
            dealers, alive = how.get(number, (frozenset(range(server.n)), frozenset()))
            if step == "shares":
                server.tell(number, dealers)
            elif step == "mask" or alive:
                server.tell(number, alive)


def mutated(patch: pytest.MonkeyPatch, owner: type, name: str, old: str, new: str) -> None:
    """Put a method in the place of one of which a line was changed."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert source.count(old) == 1, f"{name} has no {old!r}: plant the bug where it belongs now"
    scope: dict[str, Any] = {}
    exec(source.replace(old, new), dict(vars(sys.modules[owner.__module__])), scope)
    patch.setattr(owner, name, scope[name])


def half_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(graph, "rule", lambda members, *_: (members - 1, max(1, members // 2)))


def the_dead_answer(patch: pytest.MonkeyPatch) -> None:
    where = "_checked" if hasattr(Unmasking, "_checked") else "survivors"
    mutated(patch, Unmasking, where, "self._part.place not in alive", "False")


def answers_come_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Unmasking, "_leave", lambda *_: None)


def any_number_will_do(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(participation.Participation, "check_size", lambda *_: None)


BUGS: tuple[tuple[Callable[[pytest.MonkeyPatch], None], bool], ...] = (
    (half_is_enough, False),
    (answers_come_twice, False),
    (any_number_will_do, True),
)


@pytest.mark.parametrize(("bug", "one_set"), BUGS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bug_that_is_planted_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], one_set: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    with pytest.raises(LeakError):
        play(machine("standard", one_set=one_set, sizes=(5,), floors=(3,)), 1_500)


@pytest.mark.parametrize("planted", [True, False])
def test_devices_that_answer_though_they_are_called_dead_open_a_vector(
    planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One survivor set for all; the two peers that the last device masked against help to open their own masks."""
    if planted:
        the_dead_answer(monkeypatch)
    server, everybody = LyingServer(5, 0, FLOOR, "standard"), frozenset(range(5))
    for step, told in enumerate((everybody, everybody, everybody, frozenset((2, 3, 4)))):
        for number in range(5):
            server.tell(number, frozenset((0, 1, 4)) if (step, number) == (1, 4) else told, one_set=True)
    [cohort] = server.cohorts.values()
    assert (frozenset((4,)) in cohort.opened()) is planted
    assert ("CalledDead" in server.refusals) is not planted


@pytest.mark.parametrize("planted", [True, False])
def test_without_its_quorum_strict_would_open_a_vector(planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of seven collude, fewer than a third: what keeps the server from two survivor sets is that a quorum signs."""
    n, bad = 7, 2
    assert bad <= colluders_borne(n, STRICT)
    if planted:
        monkeypatch.setattr(quorum, "check", lambda *_: None)
    how = isolating(n, FLOOR, bad, threshold(n, STRICT))
    assert how is not None
    server = LyingServer(n, bad, FLOOR, STRICT)
    follow(server, how)
    opened = [places for found in server.cohorts.values() for places in found.opened()]
    assert (frozenset((n - 1,)) in opened) is planted
    assert ("TooFewSignatures" in server.refusals) is not planted
