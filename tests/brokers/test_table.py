"""The list of what brokers lack: true, whole, and the same as what people read."""

import ast
from pathlib import Path

from brokers_under_test import KINDS

from broker.conformance import BROKERS, LACKS, NEVER_LACKING, STORIES, group
from tests.broker_table import PAGE, rewritten


def test_every_story_is_a_test_and_every_lack_is_of_a_story() -> None:
    found = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for item in ast.parse(file.read_text()).body:
            if isinstance(item, ast.FunctionDef) and any(one.arg == "broker" for one in item.args.args):
                found.add(item.name)
    assert {f"test_{story}" for story in STORIES} <= found
    assert tuple(BROKERS) == KINDS
    assert all(lack.story in STORIES and lack.broker in BROKERS for lack in LACKS)
    assert len({(lack.story, lack.broker) for lack in LACKS}) == len(LACKS)


def test_identity_topic_rules_and_delivery_are_on_no_list() -> None:
    assert set(NEVER_LACKING) == {"identity", "topic rules", "delivery at QoS 1"}
    assert [lack for lack in LACKS if group(lack.story) in NEVER_LACKING] == []


def test_the_page_shows_the_list() -> None:
    assert rewritten(PAGE.read_text()) == PAGE.read_text(), "python -m tests.broker_table --write"
