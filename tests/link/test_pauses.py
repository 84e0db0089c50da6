"""How long a link waits before it connects again."""

from accord.entropy import SeededEntropy
from accord.link.pauses import FIRST, LARGEST, Pauses


def test_pauses_are_drawn_below_a_bound_that_doubles_and_begin_anew_with_a_connection() -> None:
    fleet = [Pauses(SeededEntropy(seed)) for seed in range(40)]
    for turn in range(10):
        bound = min(LARGEST, FIRST * 2**turn)
        drawn = [one.next() for one in fleet]
        assert all(0 <= pause <= bound for pause in drawn)
        assert bound / 4 < sum(drawn) / len(drawn) < bound * 3 / 4, "spread over all of it"
    fleet[0].over()
    assert fleet[0].next() <= FIRST
