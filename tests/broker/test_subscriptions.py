"""Who hears a topic is remembered, and is at every moment who would be found by looking at all filters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.wire import topics
from broker import subscriptions
from broker.subscriptions import Subscriptions

CLIENTS, TOPICS = ("a", "b", "c"), ("x", "x/y", "x/y/z", "w/y", "w")
FILTERS = ("x", "x/y", "x/+", "x/#", "#", "+/y", "w", "w/#")
STEP = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(CLIENTS), st.sampled_from(FILTERS), st.integers(0, 1)),
    st.tuples(st.just("remove"), st.sampled_from(CLIENTS), st.sampled_from(FILTERS), st.just(0)),
    st.tuples(st.just("remove_all"), st.sampled_from(CLIENTS), st.just(""), st.just(0)),
    st.tuples(st.just("clear"), st.just(""), st.just(""), st.just(0)),
)


@given(st.lists(STEP, max_size=25))
def test_whoever_hears_a_topic_is_whoever_has_a_filter_that_matches(steps: list[tuple[str, str, str, int]]) -> None:
    table, held = Subscriptions(), dict[tuple[str, str], int]()
    for what, client, topic_filter, qos in steps:
        match what:
            case "add":
                table.add(client, topic_filter, qos)
                held[client, topic_filter] = qos
            case "remove":
                assert table.remove(client, topic_filter) == ((client, topic_filter) in held)
                held.pop((client, topic_filter), None)
            case "remove_all":
                table.remove_all(client)
                held = {key: qos for key, qos in held.items() if key[0] != client}
            case _:
                table.clear()
                held = {}
        for topic in TOPICS:
            found: dict[str, int] = {}
            for (one, theirs), granted in held.items():
                if topics.matches(theirs, topic):
                    found[one] = max(granted, found.get(one, 0))
            assert table.holders(topic) == found


def test_what_is_remembered_is_bounded_in_topics_and_in_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "REMEMBERED", 10)
    table = Subscriptions()
    table.add("a", "#", 1)
    for number in range(100):
        assert table.holders(f"x/{number}") == {"a": 1}
        assert table.holders(f"x/{number}/" + "y" * subscriptions.LONGEST) == {"a": 1}
        assert len(table._found) <= 10
        assert all(len(topic) <= subscriptions.LONGEST for topic in table._found)
