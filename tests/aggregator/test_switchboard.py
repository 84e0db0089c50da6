"""A device that asks for a RESULT is sent to the job that it names, running or over."""

from types import SimpleNamespace
from typing import Any

from accord.link import Delivery
from accord.signing import SigningKey
from accord.wire import topics
from accord.wire.check_in import Ask
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF
from aggregator.attendance import Attendance
from aggregator.switchboard import Switchboard


def question(job: str) -> Delivery:
    body = Ask(job=job, round=3, attempt=1).encode()
    letter = seal(TAG_OF[Ask], body, key=SigningKey(b"k" * 32), sender="dev-1", recipient="aggregator")
    return Delivery(topic=topics.up("t", "dev-1", "req"), payload=letter.encode())


def test_a_question_goes_to_the_job_that_it_names_also_when_that_is_over() -> None:
    heard: dict[str, list[Delivery]] = {"one": [], "two": []}
    runners: Any = {name: SimpleNamespace(transport=SimpleNamespace(handle=heard[name].append)) for name in heard}
    over: list[tuple[str, Ask]] = []
    board = Switchboard(runners, Attendance(), over=lambda device, asked: over.append((device, asked)))
    assert board.handle(question("two")) == ""
    assert [len(found) for found in heard.values()] == [0, 1]
    assert not over
    assert board.handle(question("three")) == ""
    assert over == [("dev-1", Ask(job="three", round=3, attempt=1))]
    assert [len(found) for found in heard.values()] == [0, 1]
    assert Switchboard(runners, Attendance()).handle(question("three")) == "", "nobody keeps RESULTs: it is dropped"
