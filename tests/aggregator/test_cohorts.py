"""Cohorts are a fair deal: everybody once, within the bounds, nearly equal, and drawn anew by the entropy alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.secagg.planner import Question, choose
from aggregator.cohorts import form


@given(
    devices=st.integers(0, 400), count=st.integers(1, 20), floor=st.integers(3, 40), room=st.integers(0, 80),
    seed=st.integers(0, 2**32),
)  # fmt: skip
def test_everybody_sums_once_within_the_bounds(devices: int, count: int, floor: int, room: int, seed: int) -> None:
    names, cap = [f"dev-{i:03d}" for i in range(devices)], floor + room
    fewest = -(-devices // cap)
    if devices >= floor and devices // max(fewest, 1) < floor:
        with pytest.raises(UsageError, match=f"{floor} to {cap}"):
            form(names, count, floor, cap, SeededEntropy(seed))
        return
    groups = form(names, count, floor, cap, SeededEntropy(seed))
    assert sorted(name for group in groups for name in group) == (names if devices >= floor else [])
    sizes = [len(group) for group in groups]
    assert all(floor <= size <= cap for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert all(group == sorted(group) for group in groups)
    if devices >= floor:
        assert len(groups) == max(fewest, min(count, devices // floor))
    assert groups == form(names[::-1], count, floor, cap, SeededEntropy(seed)), "the order of arrival decides nothing"


@given(data=st.data(), count=st.integers(1, 8), floor=st.integers(3, 50))
def test_whoever_joins_can_be_dealt_under_the_cap_of_the_plan(data: st.DataObject, count: int, floor: int) -> None:
    """However many of the invited devices join, the plan's cap leaves room for cohorts that keep the floor."""
    invited = data.draw(st.integers(count * floor, count * 100))
    joined = data.draw(st.integers(floor, invited))
    names = [f"dev-{i:03d}" for i in range(joined)]
    choice = choose(Question(devices=invited // count, floor=floor, corrupt=0.0))
    groups = form(names, count, floor, max(choice.cap, -(-invited // count)), SeededEntropy(0))
    assert len(groups) == min(count, joined // floor)


def test_a_cohort_that_no_sparse_graph_is_safe_for_is_not_formed() -> None:
    """Half of two cohorts may join: one cohort of them all is within the cap, and needs 256 neighbours each."""
    choice = choose(Question(devices=500, corrupt=0.05, dropout=0.35, largest=600))
    names = [f"dev-{i:03d}" for i in range(choice.cap)]
    assert choice.cap < 2 * choice.floor
    with pytest.raises(UsageError, match="form smaller cohorts"):
        form(names, 2, choice.floor, choice.cap, SeededEntropy(0), graph=choice.question.rule)
    for joined, cohorts in ((choice.floor, 1), (500, 1), (2 * choice.floor, 2)):
        names = [f"dev-{i:03d}" for i in range(joined)]
        assert len(form(names, 2, choice.floor, choice.cap, SeededEntropy(0), graph=choice.question.rule)) == cohorts


def test_who_sums_with_whom_is_drawn_anew() -> None:
    names = [f"dev-{i:02d}" for i in range(30)]
    deals = [form(names, 3, 3, 30, SeededEntropy(seed)) for seed in range(200)]
    assert len({str(deal) for deal in deals}) == 200
    together = sum(any({"dev-00", "dev-01"} <= set(group) for group in deal) for deal in deals)
    assert 35 < together < 90, "two devices meet in 9 of 29 deals: 62 of 200, seven deviations around"
