"""The secure sum on a sparse graph: exact under dropouts at every step, and no other neighbours than the roster's."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import Aborted, Refusal
from accord.plan import Graph
from accord.secagg import client, costs, server
from accord.secagg.cohort import Cohort, assembled, new_roster, shown_to, verified
from accord.secagg.roster_tree import RosterTree
from accord.wire.secure_sum import Masked, Roster, Survivors
from tests.secagg.driven_cohort import AUTHORITY, BITS, CONTEXT, LENGTH, SEAL, device, member

RULE = Graph(complete_up_to=0, corrupt=0, dropout=50_000)
"""22 neighbours of 40, and 16 answers."""
MEMBERS = 40


class Fleet:
    """Devices of which each sees its neighbours alone, and the aggregator's cohort, which holds them all."""

    def __init__(self, members: int = MEMBERS) -> None:
        self.joining = [device(i) for i in range(members)]
        self.full = new_roster("c-1", "standard", [member(d) for d in self.joining], RULE)
        self.cohort = verified(self.full, CONTEXT, "standard", AUTHORITY, rule=RULE)
        self.tree = RosterTree(self.full)
        self.vectors = [np.arange(LENGTH, dtype=np.uint32) * (i + 1) + 7 for i in range(members)]

    def roster(self, name: str) -> Roster:
        return shown_to(self.full, self.cohort, self.tree, name)

    def takes(self, joining: client.Joining, roster: Roster, *, floor: int = 20, vouched: int = 3) -> client.Sharing:
        return joining.roster(roster, AUTHORITY, profile="standard", floor=floor, cap=4_096, rule=RULE, vouched=vouched)


def test_the_story_is_on_a_sparse_graph() -> None:
    fleet = Fleet()
    assert fleet.cohort.neighbours == 22
    assert not fleet.cohort.graph.complete


@settings(max_examples=15, deadline=None)
@given(st.floats(0, 0.3), st.integers(0, 2**32))
def test_the_sum_is_exact_whoever_drops_out_or_aborts_by_name(rate: float, seed: int) -> None:  # noqa: C901 - a story
    rng, fleet = np.random.default_rng(seed), Fleet()
    lost = rng.random((MEMBERS, 3)) < rate / 3
    stage, sharing = server.Sharing(fleet.cohort, 3), {}
    for i, d in enumerate(fleet.joining):
        if not lost[i][0]:
            sharing[i] = fleet.takes(d, fleet.roster(d.device), floor=3)
            stage.add(d.device, sharing[i].message)
    try:
        collecting, shares = stage.close()
        waiting = {}
        for i, s in sharing.items():
            try:
                masking = s.shares(shares[s.cohort.devices[s.place]])
            except Refusal:  # too few of its neighbours dealt: it stays out
                continue
            if not lost[i][1]:
                waiting[i], masked, dealers = masking.mask(fleet.vectors[i], BITS)
                collecting.add(fleet.joining[i].device, Masked(dealers=dealers, vector=masked.tobytes()), masked)
        unmasking, survivors = collecting.close()
        for i, u in waiting.items():
            if not lost[i][2]:
                try:
                    unmasking.add(fleet.joining[i].device, u.survivors(survivors, SEAL.public)[1], SEAL)
                except Refusal:  # too few of its neighbours are left: it does not answer
                    continue
        total = unmasking.close(BITS)
    except Aborted as abort:
        reason = abort.reason
    else:
        reason = ""
        assert (total == sum(fleet.vectors[i] for i in waiting) % 2**BITS).all()
        assert not unmasking.wrong_holders
        assert set(unmasking.recovered) == {fleet.joining[i].device for i in sharing if i not in waiting}
    assert not reason or (rate > 0 and reason in {"TooFewShares", "TooFewVectors", "TooFewAnswers"})


def test_a_few_dropouts_never_abort() -> None:
    fleet = Fleet()
    stage, sharing = server.Sharing(fleet.cohort, 20), {}
    for d in fleet.joining[1:]:
        sharing[d.device] = fleet.takes(d, fleet.roster(d.device))
        stage.add(d.device, sharing[d.device].message)
    collecting, shares = stage.close()
    waiting = {}
    for name, s in list(sharing.items())[2:]:
        waiting[name], masked, dealers = s.shares(shares[name]).mask(fleet.vectors[int(name[-3:])], BITS)
        collecting.add(name, Masked(dealers=dealers, vector=masked.tobytes()), masked)
    unmasking, survivors = collecting.close()
    for name, u in list(waiting.items())[1:]:
        unmasking.add(name, u.survivors(survivors, SEAL.public)[1], SEAL)
    assert (unmasking.close(BITS) == sum(fleet.vectors[3:]) % 2**BITS).all()
    assert unmasking.recovered == ("dev-001", "dev-002")


def test_a_device_and_the_aggregator_have_one_context() -> None:
    fleet = Fleet()
    d = fleet.joining[5]
    own = fleet.takes(d, fleet.roster(d.device)).cohort
    assert (own.context, own.root, own.size) == (fleet.cohort.context, fleet.cohort.root, MEMBERS)
    assert own.holders(5) == fleet.cohort.holders(5)
    assert own.shown == 23
    assert [name for name in own.devices if name] == [fleet.cohort.devices[p] for p in own.holders(5)]


def lied(reason: str, roster: Roster, fleet: Fleet, **floors: int) -> None:
    with pytest.raises(Refusal, match=reason):
        fleet.takes(fleet.joining[5], roster, **floors)


def other_cohort(fleet: Fleet, seed: int) -> Cohort:
    """The same members on another graph than their roster gives."""
    found = assembled(fleet.full, CONTEXT)
    return dataclasses.replace(found, graph=type(found.graph)(bytes([seed]) * 32, MEMBERS, found.neighbours))


def test_a_device_refuses_every_graph_but_its_rosters() -> None:
    fleet = Fleet()
    name = fleet.joining[5].device
    true = fleet.roster(name)
    for seed in range(5):
        chosen = other_cohort(fleet, seed)
        lied("WrongNeighbours", shown_to(fleet.full, chosen, fleet.tree, name), Fleet())
    lied("WrongShape", dataclasses.replace(true, members=true.members[1:]), Fleet())
    lied("NotInRoster", fleet.roster("dev-006"), Fleet())
    for changes in ({"neighbours": 20}, {"threshold": 11}, {"neighbours": 39, "threshold": 21}):
        lied("WrongRule", dataclasses.replace(true, **changes), Fleet())
    lied("WrongRule", dataclasses.replace(true, whole=0), Fleet())  # 23 members are another rule


def test_a_device_counts_neighbours_that_it_verified_and_no_number_that_is_stated() -> None:
    fleet = Fleet()
    true = fleet.roster("dev-005")
    assert fleet.takes(fleet.joining[5], true, vouched=23)
    lied("SmallCohort", true, Fleet(), vouched=24)
    lied("SmallCohort", true, Fleet(), floor=41)


def test_survivors_that_leave_too_few_neighbours_are_not_answered() -> None:
    """The aggregator may lie about who dropped out: a device never answers with fewer than t neighbours alive."""
    fleet = Fleet()
    stage = server.Sharing(fleet.cohort, 3)
    sharing = [fleet.takes(d, fleet.roster(d.device), floor=3) for d in fleet.joining]
    for d, s in zip(fleet.joining, sharing, strict=True):
        stage.add(d.device, s.message)
    _, shares = stage.close()
    masking = sharing[5].shares(shares["dev-005"])
    unmasking, _, _ = masking.mask(fleet.vectors[5], BITS)
    far = [p for p in range(MEMBERS) if p not in fleet.cohort.holders(5)]
    near = [p for p in fleet.cohort.holders(5) if p != 5]
    alive = Survivors(survivors=fleet.cohort.bitmap([5, *far, *near[: fleet.cohort.threshold - 2]]))
    with pytest.raises(Refusal, match="SmallCohort"):
        unmasking.survivors(alive, SEAL.public)


def test_a_wrong_dealer_is_named_and_a_wrong_holder_is_skipped() -> None:
    fleet = Fleet()
    stage = server.Sharing(fleet.cohort, 3)
    sharing = [fleet.takes(d, fleet.roster(d.device), floor=3) for d in fleet.joining]
    for at, (d, s) in enumerate(zip(fleet.joining, sharing, strict=True)):
        message = s.message if at != 7 else dataclasses.replace(s.message, commitment=bytes(32))
        stage.add(d.device, message)
    collecting, shares = stage.close()
    waiting = []
    for d, s, v in zip(fleet.joining, sharing, fleet.vectors, strict=True):
        following, masked, dealers = s.shares(shares[d.device]).mask(v, BITS)
        collecting.add(d.device, Masked(dealers=dealers, vector=masked.tobytes()), masked)
        waiting.append(following)
    unmasking, survivors = collecting.close()
    for d, u in zip(fleet.joining, waiting, strict=True):
        unmasking.add(d.device, u.survivors(survivors, SEAL.public)[1], SEAL)
    with pytest.raises(Aborted, match=r"WrongDealer.*dev-007"):
        unmasking.close(BITS)


def test_a_roster_takes_as_many_bytes_as_the_plan_says() -> None:
    fleet = Fleet()
    sizes = [len(fleet.roster(one.device).encode()) for one in fleet.joining]
    said = 23 * costs.MEMBER + costs.HASH * costs._hashes(MEMBERS, 23)
    assert abs(sum(sizes) / MEMBERS / said - 1) < 0.05
