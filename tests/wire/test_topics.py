"""Topics: the grammar, and who may do what; a filter is allowed only if everything it matches is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError
from accord.wire import topics

GOOD = {
    topics.up("t", "dev-1", "state"): {"area": "up", "device": "dev-1", "kind": "state"},
    topics.up("t", "dev-1", "req"): {"area": "up", "device": "dev-1", "kind": "req"},
    topics.upload("t", "dev-1", 3, b"x" * 32): {"area": "up", "shard": "3", "kind": "s"},
    topics.down("t", "dev-1", "cmd"): {"area": "down", "device": "dev-1", "kind": "cmd"},
    topics.job("t", "j", "round"): {"area": "bcast", "job": "j", "kind": "round"},
    topics.roles("t"): {"area": "bcast", "kind": "roles"},
    topics.piece("t", "ab" * 32): {"area": "bcast", "object": "ab" * 32, "kind": "object"},
    topics.aggregator_state("t"): {"area": "agg", "kind": "state"},
}


@pytest.mark.parametrize("topic", GOOD)
def test_topics_come_apart_again(topic: str) -> None:
    found = topics.parse(topic)
    assert found.tenant == "t"
    assert {name: getattr(found, name) for name in GOOD[topic]} == GOOD[topic]


@pytest.mark.parametrize(
    "topic",
    ["", "fl/v1", "fl/v2/t/agg/state", "fl/v1/t/dev/d/up", "fl/v1/t/dev/d/up/other", "fl/v1/t/dev//up/req",
     "fl/v1/t/dev/d/up/req/x", "fl/v1/T/agg/state", "fl/v1/t/bcast/c/abc", "fl/v1/t/dev/+/up/req", "x" * 600,
     "fl/v1/t/dev/d/up/req\n"],
)  # fmt: skip
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(CodecError):
        topics.parse(topic)


@pytest.mark.parametrize(
    ("client", "action", "topic", "allowed"),
    [
        ("dev-1", "publish", topics.up("t", "dev-1", "req"), True),
        ("dev-1", "publish", topics.up("t", "dev-2", "req"), False),
        ("dev-1", "publish", topics.up("u", "dev-1", "req"), False),
        ("dev-1", "publish", topics.down("t", "dev-1", "cmd"), False),
        ("dev-1", "publish", topics.job("t", "j", "round"), False),
        ("dev-1", "publish", topics.roles("t"), False),
        ("dev-1", "publish", topics.aggregator_state("t"), False),
        ("dev-1", "publish", "fl/v1/t/dev/dev-1/up/other", False),
        ("dev-1", "subscribe", topics.down("t", "dev-1", "cmd"), True),
        ("dev-1", "subscribe", "fl/v1/t/dev/dev-1/down/#", True),
        ("dev-1", "subscribe", "fl/v1/t/dev/+/down/cmd", False),
        ("dev-1", "subscribe", "fl/v1/t/dev/dev-1/#", False),
        ("dev-1", "subscribe", "fl/v1/t/bcast/#", True),
        ("dev-1", "subscribe", "fl/v1/+/bcast/#", False),
        ("dev-1", "subscribe", "#", False),
        ("dev-1", "subscribe", "fl/#", False),
        ("dev-1", "subscribe", "fl/v1/t/dev/dev-1/down/cmd#", False),
        ("dev-1", "subscribe", "fl/v1/t/bcast/#/x", False),
        ("aggregator", "publish", topics.down("t", "dev-1", "cmd"), True),
        ("aggregator", "publish", topics.up("t", "dev-1", "req"), False),
        ("aggregator", "subscribe", "fl/v1/t/dev/+/up/#", True),
        ("aggregator", "subscribe", "fl/v1/t/dev/+/down/#", False),
        ("dev+", "publish", topics.up("t", "dev+", "req"), False),
        ("#", "subscribe", "fl/v1/t/dev/#/down/#", False),
    ],
)
def test_who_may_do_what(client: str, action: topics.Action, topic: str, allowed: bool) -> None:
    assert topics.allowed(client, "t", action, topic) is allowed


def test_what_a_client_made_up_does_not_fill_the_cache() -> None:
    topics._allowed.cache_clear()
    assert not topics.allowed("dev-1", "t", "subscribe", "fl/v1/t/bcast/" + "x" * topics.MAX_LENGTH)
    assert not topics.allowed("dev-1", "t", "publish", "fl/v1/t/dev/dev-1/up/" + "x" * topics.MAX_LENGTH)
    assert topics._allowed.cache_info().currsize == 0


def test_births_and_announcements_alone_are_kept() -> None:
    kept = {topic for topic in GOOD if topics.kept(topic)}
    births = {topics.up("t", "dev-1", "state"), topics.aggregator_state("t")}
    assert kept == births | {topics.roles("t"), topics.job("t", "j", "round")}
    with pytest.raises(CodecError):
        topics.kept("fl/v1/t/dev/dev-1/up/other")


@pytest.mark.parametrize("name", ["t-", "-t", "T", "t" * 65])
def test_a_level_of_a_topic_is_a_name(name: str) -> None:
    with pytest.raises(CodecError):
        topics.parse(f"fl/v1/{name}/agg/state")


level = st.sampled_from(["a", "b", "+", "#", ""])


@given(st.lists(level, min_size=1, max_size=5), st.lists(level, min_size=1, max_size=5), st.data())
def test_what_a_covered_filter_matches_the_grant_matches_too(
    grant: list[str], narrow: list[str], data: st.DataObject
) -> None:
    if "#" in grant[:-1] or "#" in narrow[:-1]:
        return
    wide, inner = "/".join(grant), "/".join(narrow)
    topic = "/".join(data.draw(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=5)))
    if topics.covers(wide, inner) and topics.matches(inner, topic):
        assert topics.matches(wide, topic)
