"""The planner: chances that are kept or refused, what is unsafe, and what it says about bad devices."""

import dataclasses
import json
import math
import random
from collections.abc import Callable

import pytest

from accord.cli import main
from accord.errors import UsageError
from accord.plan import Graph
from accord.secagg import graph, secrecy
from accord.secagg.planner import LIKELY, Choice, Question, chance_below, choose, propose, tolerated
from tests.secagg.secrecy import isolating


def test_no_cohort_has_a_size_without_a_graph() -> None:
    """Any number from the floor on can be dealt into cohorts up to twice that, but strict knows no sparse graph."""
    strict = choose(Question(devices=60, largest=255, floor=55, profile="strict", complete_up_to=100))
    assert strict.cap == 100 < 2 * strict.floor - 1
    standard = choose(Question(devices=60, largest=255, floor=55, complete_up_to=100))
    assert standard.cap == 2 * standard.floor - 1


@pytest.mark.parametrize("dropout", [0.0, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("devices", [20, 25, 40, 64, 100])
def test_a_choice_keeps_its_chances_or_is_refused(devices: int, dropout: float) -> None:
    try:
        choice = choose(Question(devices=devices, dropout=dropout))
    except UsageError:
        with pytest.raises(UsageError, match="rounds without a sum"):
            choose(Question(devices=devices, dropout=dropout))
        return
    assert choice.invited >= devices
    assert max(choice.few_survivors, choice.few_answers) <= LIKELY
    draw = random.Random(devices)
    rounds = 1_000
    needed = max(choice.floor, choice.threshold)
    lost = sum(sum(draw.random() >= dropout for _ in range(choice.invited)) < needed for _ in range(rounds))
    assert lost <= 8  # 1 would be expected at most


def test_sixty_four_with_a_floor_of_forty_three_over_invites_or_is_refused() -> None:
    assert 0.2 < chance_below(43, 64, 0.3) < 0.3  # a quarter of the rounds
    choice = choose(Question(devices=64, floor=43, dropout=0.3))
    assert choice.invited > 70
    assert chance_below(43, choice.invited, 0.3) <= LIKELY < chance_below(43, choice.invited - 1, 0.3)
    with pytest.raises(UsageError, match=r"one in 4 of the rounds.*lower the floor"):
        choose(Question(devices=64, floor=43, dropout=0.3, available=64))


def test_cohorts_of_thousands_have_chances_too() -> None:
    assert chance_below(1_000, 2_000, 0.5) == pytest.approx(0.491, abs=1e-3)
    assert chance_below(3, 4, 0.5) == pytest.approx(11 / 16)
    assert (chance_below(5, 5, 0.0), chance_below(6, 5, 0.0)) == (0.0, 1.0)
    choice = choose(Question(devices=1_200, dropout=0.05, largest=4_096))
    assert (choice.invited, choice.floor) == (1_200, 792)


@pytest.mark.parametrize(
    ("devices", "dropout", "feasible"),
    [(100, 0.20, True), (100, 0.21, False), (12, 0.01, True), (12, 0.05, False)],
)
def test_where_strict_is_feasible(devices: int, dropout: float, feasible: bool) -> None:
    question = Question(
        devices=devices, dropout=dropout, profile="strict", floor=min(20, devices), available=devices, corrupt=0.1
    )
    if devices == 12:
        question = dataclasses.replace(question, floor=3)
    if not feasible:
        with pytest.raises(UsageError, match="profile standard needs fewer answers"):
            choose(question)
        return
    choice = choose(question)
    assert choice.quorum == choice.threshold == 2 * devices // 3 + 1


@pytest.mark.parametrize(("members", "lost"), [(3, 0), (4, 1), (5, 1), (6, 1), (8, 2), (10, 3), (20, 6)])
def test_how_many_of_a_federation_of_sites_strict_can_lose(members: int, lost: int) -> None:
    proposal = propose(Question(devices=members, preset="sites"), "auto")
    choice = proposal.choice
    assert (choice.question.profile, choice.invited, choice.floor) == ("strict", members, 3)
    assert members - choice.quorum == lost
    assert f"{lost} of {members} devices may be lost" in proposal.why


@pytest.mark.parametrize(
    ("devices", "dropout", "profile"),
    [(100, 0.2, "strict"), (100, 0.21, "standard"), (25, 0.1, "strict"), (12, 0.01, "strict"), (12, 0.05, "standard")],
)
def test_auto_takes_strict_where_it_is_feasible_and_says_why(devices: int, dropout: float, profile: str) -> None:
    floor = min(16, devices // 2)
    found = propose(Question(devices=devices, dropout=dropout, floor=floor, available=devices), "auto")
    assert found.choice.question.profile == profile
    assert ("rounds without a sum" in found.why) is (profile == "standard")
    assert propose(Question(devices=devices, floor=floor), "standard").choice.quorum == 0


def test_two_quorums_have_more_in_common_than_may_be_corrupt() -> None:
    for devices in range(20, 101):
        choice = choose(Question(devices=devices, profile="strict", corrupt=0.3, available=devices))
        assert choice.corrupt < 2 * choice.quorum - choice.invited
    with pytest.raises(UsageError, match="two quorums"):
        choose(Question(devices=90, profile="strict", corrupt=0.36, available=90))


@pytest.mark.parametrize("profile", ["standard", "strict"])
@pytest.mark.parametrize("corrupt", [0.1, 0.3, 0.45])
def test_the_bounds_hold_in_every_roster_that_the_floor_allows(profile: str, corrupt: float) -> None:
    """Where fewer devices join than are invited, t is smaller, and a share of few devices is rounded up."""
    for devices in range(3, 21):
        try:
            choice = choose(Question(devices=devices, corrupt=corrupt, preset="sites", profile=profile))
        except UsageError:
            continue
        for joined in range(choice.floor, choice.invited + 1):
            bad, t = math.ceil(joined * corrupt - 1e-6), graph.rule(joined, Graph(), profile)[1]
            assert bad < (2 * t - joined if profile == "strict" else t)
            assert max(choice.floor, t) - bad >= 2
    with pytest.raises(UsageError, match="3 corrupt of 7 devices could sign two survivor sets"):
        choose(Question(devices=20, floor=4, corrupt=0.3, profile="strict", available=20))


def test_who_can_be_isolated_is_counted_as_it_is_played() -> None:
    for members in range(3, 7):
        for floor in range(3, members + 1):
            played = isolating(members, floor, 0, graph.threshold_of(members, "standard"))
            assert secrecy.isolable(members, floor) is (played is not None), (members, floor)


def test_sites_wait_for_all_and_are_three_to_twenty() -> None:
    choice = choose(Question(devices=3, preset="sites", dropout=0.5))
    assert (choice.invited, choice.threshold, choice.floor) == (3, 2, 3)
    for devices in (2, 21):
        with pytest.raises(UsageError):
            choose(Question(devices=devices, preset="sites"))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Question(devices=20, corrupt=0.5), "corrupt"),
        (lambda: Question(devices=20, dropout=1.0), "dropout"),
        (lambda: Question(devices=101), "largest"),
        (lambda: Question(devices=20, profile="off"), "profile"),
        (lambda: Question(devices=20, floor=2), "floor"),
        (lambda: choose(Question(devices=19)), "at least 20"),
        (lambda: choose(Question(devices=3, floor=3, corrupt=0.4, available=3)), "honest|corrupt"),
        (lambda: choose(Question(devices=90, profile="strict", corrupt=0.4)), "corrupt"),
        (lambda: choose(Question(devices=100, value_bits=30)), "modulus"),
        (lambda: choose(Question(devices=1_000, largest=1_000, corrupt=0.33, dropout=0.33)), "neighbours"),
        (lambda: tolerated("median", 4), "at least 5 cohorts.*What is left"),
        (lambda: tolerated("best", 7), "merge"),
    ],
)
def test_what_is_unsafe_cannot_be_built(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_bad_devices_are_counted_by_the_merge_and_never_by_secrecy() -> None:
    assert [tolerated(merge, 7) for merge in ("mean", "median", "trimmed")] == [0, 3, 2]
    assert tolerated("median", 5) == 2


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["plan", "secagg", *words]) == 0
    return capsys.readouterr().out


def test_the_command_explains_what_was_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    said = planned(capsys, "--devices", "100", "--corrupt", "0.1", "--dropout", "0.3")
    for part in ("complete", "51 of 100 shares", "55 devices at least", "tolerates: none", "could still", "kB up"):
        assert part in said
    assert "isolate a device without any corrupt one" in said
    sites = ("--preset", "sites", "--profile", "standard")
    assert "isolate" not in planned(capsys, "--devices", "4", *sites), "no set may leave two out"
    assert "isolate" in planned(capsys, "--devices", "5", *sites)
    said = planned(capsys, "--devices", "700", "--cohorts", "7", "--merge", "median")
    assert "merge median tolerates: 3 per round" in said
    assert "corrupt devices of 100" in said


def test_the_command_says_which_profile_and_what_its_quorum_costs(capsys: pytest.CaptureFixture[str]) -> None:
    said = planned(capsys, "--devices", "100", "--dropout", "0.2")
    for part in ("profile strict, as strict is feasible", "67 signatures on the survivor set", "34 devices or more"):
        assert part in said
    assert "isolate" not in said
    assert "not built" not in said
    assert "profile standard, as strict would not do" in planned(capsys, "--devices", "100", "--dropout", "0.3")
    strict, standard = (
        json.loads(planned(capsys, "--devices", "100", "--profile", profile, "--json"))
        for profile in ("strict", "standard")
    )
    assert (strict["quorum"], standard["quorum"]) == (67, 0)
    more = strict["control_bytes_down"] - standard["control_bytes_down"]
    assert 67 * 64 < more < 67 * 64 + 400, "the quorum's signatures"
    assert 0 < strict["control_bytes_up"] - standard["control_bytes_up"] < 300
    assert strict["device_seconds"] > standard["device_seconds"]


def test_the_command_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(planned(capsys, "--devices", "1000", "--largest-cohort", "1000", "--dropout", "0.1", "--json"))
    assert (found["graph"], found["neighbours"], found["threshold"]) == ("sparse", 52, 28)
    assert any("isolate" in lie for lie in found["lies"])
    assert main(["plan", "secagg", "--devices", "2", "--json"]) == 1
    assert "error" in json.loads(capsys.readouterr().out)


def test_a_choice_is_a_value() -> None:
    choice = choose(Question(devices=20))
    assert isinstance(choice, Choice)
    with pytest.raises(AttributeError):
        choice.threshold = 3  # type: ignore[misc]
