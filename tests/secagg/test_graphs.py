"""Graphs of the secure sum: the published bounds as oracle, each profile's rule, neighbourhoods that stay connected."""

import dataclasses
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import LocalProtocolError
from accord.plan import MICRO, Graph
from accord.secagg import bounds, graph

# (corrupt, dropout) in per cent -> members -> (k, lowest t, highest t). k = 0: no graph within GF(2^8)'s 255 shares.
# Computed on 24 November 2026 by another program than this one, in floating point.
TABLE = {
    (5, 5): {100: (30, 16, 25), 300: (30, 16, 18), 1_000: (34, 18, 19), 10_000: (38, 21, 21), 100_000: (40, 22, 22)},
    (10, 10): {100: (42, 22, 32), 300: (44, 23, 24), 1_000: (52, 28, 28), 10_000: (60, 32, 32), 100_000: (66, 35, 35)},
    (10, 20): {100: (56, 29, 36), 300: (76, 39, 39), 1_000: (100, 51, 51), 10_000: (124, 63, 63)},
    (10, 30): {100: (74, 38, 44), 300: (138, 70, 70), 1_000: (222, 112, 112), 10_000: (0, 0, 0)},
    (20, 20): {100: (74, 38, 54), 300: (80, 42, 42), 1_000: (112, 59, 59), 10_000: (136, 71, 71)},
    (33, 10): {100: (80, 41, 70), 300: (82, 57, 57), 1_000: (114, 78, 78), 10_000: (140, 95, 95)},
}


@pytest.mark.parametrize(("rates", "members"), [(rates, n) for rates, row in TABLE.items() for n in row])
def test_the_least_degree_is_the_published_one(rates: tuple[int, int], members: int) -> None:
    corrupt, dropout = (percent * 10_000 for percent in rates)
    found = bounds.least_degree(members, corrupt, dropout, 254)
    assert (found or (0, 0, 0)) == TABLE[rates][members]


def test_the_published_graphs_beyond_one_byte_of_shares() -> None:
    assert bounds.least_degree(10_000, 100_000, 300_000, 400) == (306, 154, 154)
    assert bounds.least_degree(1_000, 330_000, 330_000, 400) == (310, 159, 159)


@given(st.integers(10, 120), st.integers(0, 400_000), st.integers(0, 400_000).map(lambda n: n // 1_000 * 1_000))
@settings(max_examples=40, deadline=None)
def test_each_bound_holds_as_written(members: int, corrupt: int, dropout: int) -> None:
    found = bounds.least_degree(members, corrupt, dropout, members - 2)
    if found is None:
        return
    degree, low, high = found
    everything = math.comb(members - 1, degree)

    def tail(marked: int, counts: range) -> float:
        others = members - 1 - marked
        return sum(math.comb(marked, i) * math.comb(others, degree - i) for i in counts) / everything

    bad, gone = math.ceil(members * corrupt / 10**6), math.ceil(members * dropout / 10**6)
    assert low > degree // 2
    assert low <= high <= degree
    assert members * tail(min(bad, members - 1), range(low, degree + 1)) <= 2.0**-41
    assert members * tail(max(0, members - 1 - gone), range(high)) <= 2.0**-30
    assert members * ((corrupt + dropout) / 10**6) ** (degree / 2) <= 2.0**-41 * (1 + 1e-9)


def test_the_rule_of_profile_strict() -> None:
    usual = Graph()
    rules = [graph.rule(n, usual, "strict") for n in (3, 4, 5, 6, 8, 10, 12, 100)]
    assert rules == [(2, 3), (3, 3), (4, 4), (5, 5), (7, 6), (9, 7), (11, 9), (99, 67)]
    for members, rates in ((2, usual), (101, usual), (21, dataclasses.replace(usual, complete_up_to=20))):
        with pytest.raises(LocalProtocolError, match=r"at least 3|complete graph"):
            graph.rule(members, rates, "strict")


@given(st.integers(10, 400), st.integers(0, 450_000), st.integers(2, 127))
def test_a_degree_that_is_passed_over_has_no_threshold(members: int, dropout: int, half: int) -> None:
    """What spares the sums is exact: it is only said where the highest threshold is below the lowest."""
    degree = min(2 * half, (members - 2) // 2 * 2)
    left = max(0, members - 1 + members * -dropout // MICRO)
    if bounds._hopeless(members, left, degree):
        assert bounds._highest(members, left, degree) < degree // 2 + 1


def test_the_rule_of_profile_standard() -> None:
    usual = Graph(corrupt=100_000, dropout=100_000)
    assert [graph.rule(n, usual) for n in (3, 4, 12, 100)] == [(2, 2), (3, 3), (11, 7), (99, 51)]
    assert graph.rule(1_000, usual) == (52, 28)
    assert graph.rule(100, dataclasses.replace(usual, complete_up_to=50)) == (42, 27)
    assert graph.rule(20, dataclasses.replace(usual, complete_up_to=0)) == (19, 11)  # 30 of 19 would be needed


def test_two_devices_and_graphs_beyond_one_byte_have_no_rule() -> None:
    for members, rates in ((2, Graph()), (1_000, Graph(corrupt=330_000, dropout=330_000))):
        with pytest.raises(LocalProtocolError, match=r"at least 3|more than 254 neighbours"):
            graph.rule(members, rates)


@given(st.integers(3, 300), st.binary(min_size=32, max_size=32), st.integers(1, 20))
@settings(deadline=None)
def test_neighbourhoods_are_mutual_and_of_one_size(members: int, root: bytes, half: int) -> None:
    degree = min(2 * half, members - 1)
    near = graph.Neighbourhoods(root, members, degree)
    around = [near.around(position) for position in range(members)]
    for position, holders in enumerate(around):
        assert list(holders) == sorted(set(holders))
        assert len(holders) == degree + 1
        assert position in holders
        assert all(position in around[other] for other in holders)
    again = graph.Neighbourhoods(root, members, degree)
    assert [again.around(position) for position in range(members)] == around


def connected(near: graph.Neighbourhoods, alive: set[int]) -> bool:
    """Walk from one survivor to all the others over edges between survivors."""
    seen, todo = set(), [min(alive)]
    while todo:
        position = todo.pop()
        if position not in seen:
            seen.add(position)
            todo += [other for other in near.around(position) if other in alive]
    return seen == alive


@pytest.mark.parametrize(("members", "rates"), [(150, (10, 30)), (300, (10, 10)), (1_000, (10, 10))])
def test_survivors_stay_connected_and_every_secret_opens(members: int, rates: tuple[int, int]) -> None:
    rule = Graph(corrupt=rates[0] * 10_000, dropout=rates[1] * 10_000)
    degree, threshold = graph.rule(members, rule)
    assert degree < members - 1
    for seed in range(10):
        near = graph.Neighbourhoods(bytes([seed]) * 32, members, degree)
        order = random.Random(seed).sample(range(members), members)
        gone = members * rates[1] // 100
        alive, honest = set(order[gone:]), set(order[gone + members * rates[0] // 100 :])
        assert all(len(alive.intersection(near.around(dealer))) >= threshold for dealer in range(members))
        assert connected(near, honest)


def test_another_roster_gives_another_ring() -> None:
    rings = {graph.Neighbourhoods(bytes([seed]) * 32, 150, 10).around(0) for seed in range(20)}
    assert len(rings) == 20
