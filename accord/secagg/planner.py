"""Chooses graph, threshold, floor, invitations and modulus of a cohort from its size and what may go wrong.

What it returns holds its bounds: a setting that does not is refused with what would. Floating point decides only how
many devices are invited; what devices must agree on is `graph.rule`. See docs/protocol.md, section 7.3.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace

from accord.errors import CodecError, LocalProtocolError, UsageError
from accord.plan import LARGEST_COHORT, MICRO, SMALLEST_COHORT, STANDARD, STRICT, Graph, modulus_bits
from accord.secagg import graph as rules
from accord.secagg import secrecy
from accord.values import dataclass

LIKELY = 1e-3
"""The chance, at most, that a round ends without a sum since too many dropped out between ROSTER and UNMASK."""
FLEET_FLOOR = 20
SITES = range(SMALLEST_COHORT, 21)
"""Members of a federation of sites, which waits for all of them."""
KEPT = 0.66
"""The share of the devices asked for that a sum should hold at least, where dropouts allow it."""
PROFILES = (STANDARD, STRICT)
AUTO = "auto"
"""Profile `strict` where a cohort of it holds every bound, else `standard`."""
PRESETS = ("fleet", "sites")
MERGES = ("mean", "median", "trimmed")
FEWEST_COHORTS = 5
"""Of fewer, a median or trimmed mean says little."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of one cohort.

    `corrupt` and `dropout` are shares from 0 to 1: of devices that work with the aggregator, and of those that are gone
    between ROSTER and UNMASK, each for itself.

    Raises:
        UsageError: a value is out of its range.
    """

    devices: int  # that a round wants
    corrupt: float = 0.1
    dropout: float = 0.0
    profile: str = STANDARD
    preset: str = "fleet"
    floor: int = 0  # the fewest that a sum may hold; 0: chosen
    available: int = LARGEST_COHORT  # that can be invited
    largest: int = 100  # cohort
    complete_up_to: int = 100  # members of a complete graph
    value_bits: int = 16

    def __post_init__(self) -> None:
        if self.profile not in PROFILES or self.preset not in PRESETS:
            raise UsageError(
                f"profile {self.profile!r}, preset {self.preset!r}: use {', '.join(PROFILES)} and {', '.join(PRESETS)}"
            )
        if not 0 <= self.corrupt < 0.5:
            raise UsageError(
                f"a share of {self.corrupt} corrupt devices is not from 0 to below 0.5: no sum is safe then"
            )
        if not 0 <= self.dropout < 1:
            raise UsageError(f"a dropout rate of {self.dropout} is not from 0 to below 1")
        if not SMALLEST_COHORT <= self.devices <= self.largest <= LARGEST_COHORT:
            raise UsageError(
                f"a cohort of {self.devices} devices is not from {SMALLEST_COHORT} to {self.largest}, the largest one "
                f"(at most {LARGEST_COHORT})"
            )
        if self.preset == "sites" and self.devices not in SITES:
            raise UsageError(f"a federation of sites has {SITES.start} to {SITES.stop - 1} members, not {self.devices}")
        if self.floor and not SMALLEST_COHORT <= self.floor <= self.devices:
            raise UsageError(f"a floor of {self.floor} is not from {SMALLEST_COHORT} to the {self.devices} devices")

    @property
    def rule(self) -> Graph:
        """The rule that the plan carries."""
        return Graph(
            complete_up_to=self.complete_up_to,
            corrupt=math.ceil(round(self.corrupt * MICRO, 3)),
            dropout=math.ceil(round(self.dropout * MICRO, 3)),
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A cohort whose bounds hold."""

    question: Question
    invited: int
    neighbours: int
    threshold: int
    floor: int  # fewest members of a sum, n_min
    cap: int  # most members of a roster
    modulus_bits: int
    few_survivors: float  # chance that fewer than n_min or t vectors arrive
    few_answers: float  # chance that some secret has fewer than t answers

    @property
    def complete(self) -> bool:
        """Whether everyone masks with everyone."""
        return self.neighbours == self.invited - 1

    @property
    def corrupt(self) -> int:
        """Corrupt devices among those invited, at most."""
        return _corrupt(self.invited, self.question.corrupt)

    @property
    def sizes(self) -> Sequence[int]:
        """Of rosters on a complete graph that the plan allows, whoever joins."""
        most = self.invited if self.question.preset == "sites" else min(self.cap, self.question.available)
        most = max(self.invited, min(most, self.question.complete_up_to))
        return range(self.floor, most + 1) if self.complete else ()

    @property
    def quorum(self) -> int:
        """Signatures on one survivor set without which nobody answers; 0 in profile `standard`, which asks for none."""
        return self.threshold if self.question.profile == STRICT else 0


def choose(question: Question) -> Choice:
    """Return the cohort with the fewest invitations that holds every bound.

    Raises:
        UsageError: none does with the devices that can be invited; the message says what would.
    """
    if question.preset == "sites":
        return _sites(question)
    most = min(question.available, question.largest)
    if most < question.devices:
        raise UsageError(f"{question.devices} devices are asked for, and {most} can be invited")
    if not question.floor and question.devices < FLEET_FLOOR:
        raise UsageError(
            f"a fleet's sum holds at least {FLEET_FLOOR} devices, and {question.devices} are asked for: ask for more, "
            "or set a floor of your own, or use preset sites, which waits for all of its members"
        )
    first = _at(question, question.devices)
    for invited in range(question.devices, most + 1):
        found = _at(question, invited)
        if isinstance(found, Choice):
            return found
    raise UsageError(f"{first}; inviting up to {most} does not help: {_advice(question, most)}")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A choice, and why its profile is the one that it is."""

    choice: Choice
    why: str


def propose(question: Question, profile: str) -> Proposal:
    """Return the cohort in the profile that is asked for; `auto` is `strict` where that is feasible, else `standard`.

    Raises:
        UsageError: no cohort holds every bound.
    """
    if profile != AUTO:
        return Proposal(choice=choose(replace(question, profile=profile)), why="it was asked for")
    try:
        choice = choose(replace(question, profile=STRICT))
    except UsageError as error:
        choice = choose(replace(question, profile=STANDARD))
        return Proposal(choice=choice, why=f"strict would not do: {error}")
    spare = choice.invited - max(choice.floor, choice.threshold)
    return Proposal(choice=choice, why=f"strict is feasible: {spare} of {choice.invited} devices may be lost")


def chance_below(wanted: int, devices: int, dropout: float) -> float:
    """Return the chance that fewer than `wanted` of `devices` stay, each of which drops out with chance `dropout`."""
    if wanted > devices:
        return 1.0
    if not dropout:
        return 0.0
    # In logarithms: from about 1,030 devices on, the number of choices is past what a float holds.
    every, stay, gone = math.lgamma(devices + 1), math.log1p(-dropout), math.log(dropout)
    return math.fsum(
        math.exp(every - math.lgamma(n + 1) - math.lgamma(devices - n + 1) + n * stay + (devices - n) * gone)
        for n in range(wanted)
    )


def tolerated(merge: str, cohorts: int) -> int:
    """Return how many bad devices of a round cannot move the merged model past what honest cohorts say.

    One bad device spoils its cohort, so as many are tolerated as bad cohorts: none by the mean.

    Raises:
        UsageError: another merge, or too few cohorts for it.
    """
    if merge not in MERGES:
        raise UsageError(f"merge {merge!r} is not one of {', '.join(MERGES)}")
    if merge == "mean":
        return 0
    if cohorts < FEWEST_COHORTS:
        raise UsageError(
            f"merge {merge} needs at least {FEWEST_COHORTS} cohorts, not {cohorts}: of fewer, one bad device decides "
            "too much. What is left with merge mean: a change is cut to the range of the plan's scales, and no device "
            "weighs more than the plan's largest weight"
        )
    return (cohorts - 1) // 2 if merge == "median" else (cohorts - 1) // 3


def _sites(question: Question) -> Choice:
    """Everyone is waited for, so no rate of dropouts is promised: a round that can't close is aborted by name."""
    found = _at(question, question.devices)
    if isinstance(found, str):
        raise UsageError(found)
    return found


def _at(question: Question, invited: int) -> Choice | str:
    """Return the cohort of so many, or why there is none."""
    sites, strict = question.preset == "sites", question.profile == STRICT
    try:
        neighbours, threshold = rules.rule(invited, question.rule, question.profile)
    except LocalProtocolError as error:
        return str(error)
    complete = neighbours == invited - 1
    floor = question.floor or (SMALLEST_COHORT if sites else _floor(question, invited, threshold if complete else 0))
    corrupt = _corrupt(invited, question.corrupt)
    if not complete and (alone := secrecy.lonely(max(floor, threshold), corrupt)):
        return alone
    unsafe = _unsafe(question, floor, invited, complete=complete)
    if unsafe and (question.floor or invited in unsafe):
        return unsafe[max(unsafe)]
    floor = max([floor, *(n + 1 for n in unsafe)])
    needed = max(floor, threshold)
    few = chance_below(needed, invited, question.dropout)
    answers = chance_below(threshold, neighbours + complete, question.dropout) * (1 if complete else invited)
    worst = max(few, answers)
    if not sites and worst > LIKELY:
        odds = "at least half" if worst > 0.5 else f"one in {1 / worst:.0f}"
        return (
            f"{invited} devices with {question.dropout:.0%} dropouts, {threshold} answers needed and a floor of "
            f"{floor} would end {odds} of the rounds without a sum"
        )
    most = min(question.largest, question.complete_up_to) if strict else question.largest
    cap = max(invited, min(2 * floor - 1, most))
    try:
        bits = modulus_bits(question.value_bits, cap)
    except CodecError as error:
        return str(error)
    return Choice(
        question=question,
        invited=invited,
        neighbours=neighbours,
        threshold=threshold,
        floor=floor,
        cap=cap,
        modulus_bits=bits,
        few_survivors=few,
        few_answers=min(1.0, answers),
    )


def _unsafe(question: Question, floor: int, invited: int, *, complete: bool) -> dict[int, str]:
    """Return what corrupt devices could do in rosters of which sizes: where fewer join than are invited, too."""
    sizes = {*range(floor, min(invited, question.complete_up_to) + 1), *([invited] if complete else [])}
    told = {n: secrecy.unsafe(n, _corrupt(n, question.corrupt), floor, question.profile) for n in sizes}
    return {n: why for n, why in told.items() if why}


def _floor(question: Question, invited: int, threshold: int) -> int:
    """Return the largest floor up to two thirds of the devices that dropouts allow, and not below what must be."""
    least = max(FLEET_FLOOR, threshold)
    floors = range(least, max(least, math.ceil(KEPT * question.devices)) + 1)
    held = bisect_right(floors, LIKELY, key=lambda floor: chance_below(floor, invited, question.dropout))
    return floors[max(0, held - 1)]


def _corrupt(devices: int, share: float) -> int:
    return math.ceil(round(devices * share, 6))


def _advice(question: Question, most: int) -> str:
    """Say what would hold the bounds."""
    wishes = []
    percents = range(int(question.dropout * 100) + 1)
    bearable = bisect_left(percents, True, key=lambda percent: not _holds(question, most, percent / 100))
    if bearable:
        wishes.append(f"at {bearable - 1} % dropouts it would hold")
    if question.profile == STRICT:
        wishes.append("profile standard needs fewer answers")
    wishes.append("let more devices be invited" if question.available < question.largest else "allow a larger cohort")
    if question.floor > FLEET_FLOOR:
        wishes.append("lower the floor")
    return ", or ".join(wishes)


def _holds(question: Question, most: int, dropout: float) -> bool:
    fewer = replace(question, dropout=dropout)
    # the largest first: what does not hold there seldom holds with fewer
    return any(isinstance(_at(fewer, invited), Choice) for invited in range(most, question.devices - 1, -1))
