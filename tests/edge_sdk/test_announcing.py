"""A device hears before it is heard of: a round may open as soon as the aggregator knows that it is here."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from accord.wire import topics
from edge_sdk.agent import Agent

OPENING, STATE = topics.job("t", "j", "round"), topics.up("t", "dev-1", "state")


class Recorder:
    """A link that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def subscribe(self, topic: str, **_more: Any) -> None:
        self.asked.append(("subscribe", topic))

    def publish(self, topic: str, _payload: bytes, **_more: Any) -> None:
        self.asked.append(("publish", topic))


def started(*, awake: bool) -> list[tuple[str, str]]:
    link: Any = Recorder()
    session: Any = MagicMock(identity=SimpleNamespace(tenant="t", device="dev-1"))
    nothing: Any = MagicMock()
    Agent(link=link, session=session, worker=nothing, records=nothing, job="j").start(1, awake=awake)
    return link.asked


def test_who_is_awake_listens_for_openings_before_its_birth_and_has_the_roles_first() -> None:
    asked = started(awake=True)
    assert asked[0] == ("subscribe", topics.roles("t"))
    assert asked[-2:] == [("subscribe", OPENING), ("publish", STATE)]


def test_who_rests_is_here_and_listens_for_no_opening() -> None:
    asked = started(awake=False)
    assert ("subscribe", OPENING) not in asked
    assert asked[-1] == ("publish", STATE)
