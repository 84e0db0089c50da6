"""Which filters a link asks for again, and when."""

import itertools

from accord.entropy import SeededEntropy
from accord.link.subscriptions import FIRST_PAUSE, LARGEST_PAUSE, Subscriptions


def wanted(*filters: str) -> Subscriptions:
    found = Subscriptions(SeededEntropy(1))
    for number, topic_filter in enumerate(filters):
        found.add(topic_filter, 1)
        found.asked(number, [topic_filter])
    return found


def test_a_refused_filter_is_due_once_after_a_pause_and_a_granted_one_never() -> None:
    found = wanted("a", "b")
    assert found.answered(0, [True], 10.0) == ("a",)
    assert found.answered(1, [False], 10.0) == ()
    assert found.due(10.0 + FIRST_PAUSE / 2 - 0.01) == {}
    assert found.due(10.0 + FIRST_PAUSE) == {"a": 1}
    assert found.due(1e9) == {}


def test_an_answer_stands_for_each_filter_of_its_packet() -> None:
    found = Subscriptions(SeededEntropy(1))
    for topic_filter in "abc":
        found.add(topic_filter, 1)
    found.asked(7, "abc")
    assert found.answered(7, [False, True, True], 0.0) == ("b", "c")
    assert sorted(found.due(FIRST_PAUSE)) == ["b", "c"]
    found.asked(8, "abc")
    assert found.answered(8, [True], 0.0) == ("a",), "what a broker says nothing of is not refused"
    found.asked(9, "a")
    assert found.answered(9, [True, True, True], 0.0) == ("a",), "and more answers than questions are nobody's"


def test_pauses_grow_to_a_bound_and_begin_anew_after_a_grant() -> None:
    found, now, pauses = wanted("a"), 0.0, []
    for number in range(12):
        found.asked(number, ["a"])
        found.answered(number, [True], now)
        pause = next(step / 100 for step in itertools.count() if found.due(now + step / 100))
        pauses.append(pause)
        now += pause
    bounds = [min(LARGEST_PAUSE, FIRST_PAUSE * 2**number) for number in range(12)]
    assert all(bound / 2 <= pause <= bound + 0.01 for pause, bound in zip(pauses, bounds, strict=True))
    found.asked(99, ["a"])
    found.answered(99, [False], now)
    found.asked(100, ["a"])
    found.answered(100, [True], now)
    assert found.due(now + FIRST_PAUSE) == {"a": 1}


def test_what_is_wanted_no_more_or_was_asked_on_another_connection_is_not_asked_again() -> None:
    found = wanted("a", "b")
    found.answered(0, [True], 0.0)
    assert found.remove("a")
    assert not found.remove("a")
    found.connected()
    assert found.answered(1, [True], 0.0) == ()
    assert found.due(1e9) == {}
    assert found.wanted == {"b": 1}
