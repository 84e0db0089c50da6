"""What the aggregator says to people: a sentence for each event that it tells."""

import re
from pathlib import Path

import aggregator
from aggregator.cli import SENTENCES, text_of


def test_each_event_has_a_sentence_and_each_sentence_an_event() -> None:
    code = "".join(path.read_text() for path in Path(*aggregator.__path__).glob("*.py"))
    told = set(re.findall(r'"event": "([a-z ]+)"', code)) - {"up"}  # which `accord up` says in lines of its own
    assert told == set(SENTENCES)


def test_a_round_says_how_its_release_is_told_where_it_has_one() -> None:
    round_of = {
        "event": "round",
        "round": 3,
        "purpose": "train",
        "attempt": 1,
        "status": "closed",
        "included": ["a", "b"],
        "dropped": ["c"],
        "recovered": [],
        "seconds": 1.5,
    }
    closed = "round 3 (train) attempt 1 closed: 2 included, 1 dropped, 0 recovered, 1.5 s"
    assert text_of(round_of) == closed
    led = round_of | {"way_down": "factors", "way_down_because": "a basis"}
    assert text_of(led) == f"{closed}; released as factors: a basis"


def test_a_detail_in_braces_stays_as_it_is() -> None:
    refused = {"event": "refused", "device": "dev-1", "reason": "BadMessage", "detail": "{0} is {no} map"}
    assert text_of(refused) == "refused dev-1: BadMessage, {0} is {no} map"
