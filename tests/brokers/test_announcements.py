"""What a broker keeps for those who come later, and what it says for those who went without a word."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from brokers_under_test import PASSWORDS, BrokerUnderTest
from raw_client import publish

from accord.wire import topics
from tests.waiting import until

STATE = topics.up("t", "dev-1", "state")
EVERYTHING = "fl/v1/t/dev/+/up/#"
ROUND = topics.job("t", "j", "round")
BROADCAST = "fl/v1/t/bcast/#"


def announce(broker: BrokerUnderTest, *payloads: bytes, topics: Sequence[str] = (ROUND,)) -> None:
    aggregator = broker.raw("aggregator")
    for topic in topics:
        for payload in payloads or (topic.encode(),):
            aggregator.send(publish(topic, payload, retain=True))
            assert aggregator.next() == (0x40, b"\x00\x01")


def test_the_newest_announcement_reaches_those_who_subscribe_alone(broker: BrokerUnderTest) -> None:
    announce(broker, b"old", b"open")
    other = broker.raw("dev-2", clean=False)
    device = broker.raw("dev-1")
    device.subscribe(ROUND)
    found = device.letters(2, 1)
    assert [(letter.payload, letter.retain) for letter in found] == [(b"open", True)]
    announce(broker, b"new")
    assert [(letter.payload, letter.retain) for letter in device.letters(1)] == [(b"new", False)]
    assert other.letters(1, 0.3) == []
    other.vanish()
    assert broker.raw("dev-2", clean=False).letters(1, 0.3) == []


def test_every_announcement_under_a_wildcard_is_heard(broker: BrokerUnderTest) -> None:
    names = [topics.job("t", f"job-{number}", "round") for number in range(50)]
    announce(broker, topics=names)
    device = broker.raw("dev-1")
    device.subscribe(BROADCAST)
    found = device.letters(50)
    assert sorted(letter.topic for letter in found) == sorted(names)
    assert all(letter.payload == letter.topic.encode() and letter.retain for letter in found)


def test_an_empty_announcement_takes_one_back(broker: BrokerUnderTest) -> None:
    announce(broker, b"open", b"")
    device = broker.raw("dev-1")
    device.subscribe(ROUND)
    assert device.letters(1, 0.5) == []


def test_announcements_outlive_the_broker(broker: BrokerUnderTest) -> None:
    announce(broker, b"open")
    broker.stop()
    broker.start()
    until(lambda: broker.raw("dev-2").code == 0, "it takes logins again", 30)
    device = broker.raw("dev-1")
    device.subscribe(ROUND)
    assert [letter.payload for letter in device.letters(1)] == [b"open"]


DEVICE = """
import sys
from accord.entropy import SystemEntropy
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
port, session, topic = int(sys.argv[1]), sys.argv[2], sys.argv[3]
password = sys.stdin.readline().strip()
link = MqttLink(
    Address(host="127.0.0.1", port=port, client_id="dev-1", password=password, session=session),
    entropy=SystemEntropy(), will=Will(topic=topic, payload=b"gone"),
)
link.publish(topic, b"here", retain=True)
sys.stdin.read()
link.close()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_will_is_published_for_a_killed_process_and_not_for_an_orderly_one(
    broker: BrokerUnderTest, killed: bool
) -> None:
    aggregator = broker.raw("aggregator")
    aggregator.subscribe(EVERYTHING)
    words = [sys.executable, "-c", DEVICE, str(broker.port), broker.session, STATE]
    process = subprocess.Popen(words, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(PASSWORDS["dev-1"].encode() + b"\n")
    process.stdin.flush()
    assert [(letter.topic, letter.payload) for letter in aggregator.letters(1, 20)] == [(STATE, b"here")]
    if killed:
        process.kill()
        assert [(letter.topic, letter.payload) for letter in aggregator.letters(1)] == [(STATE, b"gone")]
    else:
        process.stdin.close()
        process.wait(10)
        assert aggregator.letters(1, 0.5) == []
    process.wait(10)
    process.stdin.close()
    device = broker.raw("aggregator")
    device.subscribe(EVERYTHING)
    assert [letter.payload for letter in device.letters(1)] == [b"gone" if killed else b"here"], "and it is kept"


def test_a_silent_peer_is_found_out_by_its_keepalive(broker: BrokerUnderTest) -> None:
    aggregator = broker.raw("aggregator")
    aggregator.subscribe(EVERYTHING)
    silent = broker.raw("dev-1", keepalive=2, will=(STATE, b"gone", 1, True))
    assert silent.code == 0
    found = aggregator.letters(1, 20)
    assert [(letter.topic, letter.payload) for letter in found] == [(STATE, b"gone")]
    assert silent.ended()
