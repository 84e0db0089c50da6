"""A reader that says what it has dealt with: nothing else is lost with it, and it is not sent much more than that."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers_under_test import PASSWORDS, BrokerUnderTest

from accord.link.mqtt import MqttLink
from accord.wire import topics
from broker import mosquitto, nats
from broker.config import Limits
from tests.waiting import until_heard

REQUEST, COMMAND = topics.up("t", "dev-1", "req"), topics.down("t", "dev-1", "cmd")
SETTLED = b"so it is"
"""What the program answers once it has settled."""
PATIENCE = 60.0  # seconds
MOST = {"embedded": Limits().in_flight, "mosquitto": mosquitto.IN_FLIGHT, "nats": nats.IN_FLIGHT}


class Reader:
    """The process of `settling_reader`."""

    def __init__(self, broker: BrokerUnderTest) -> None:
        words = [str(broker.port), broker.session, PASSWORDS["aggregator"]]
        program = str(Path(__file__).with_name("settling_reader.py"))
        self.process = subprocess.Popen([sys.executable, program, *words], stdout=subprocess.PIPE, text=True)
        self._patience = threading.Timer(PATIENCE, self.process.kill)
        self._patience.start()

    def hears(self, wanted: str) -> list[str]:
        """Return what it prints before what is wanted."""
        assert self.process.stdout is not None
        before = []
        for line in self.process.stdout:
            if line.strip() == wanted:
                return before
            before.append(line.strip())
        raise AssertionError(f"it ended, and never heard {wanted!r}, but {before}")

    def kill(self) -> None:
        self._patience.cancel()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def readers() -> Iterator[list[Reader]]:
    found: list[Reader] = []
    yield found
    for one in found:
        one.kill()
        assert one.process.stdout is not None
        one.process.stdout.close()


def test_what_a_reader_that_was_killed_had_not_dealt_with_comes_again(
    broker: BrokerUnderTest, readers: list[Reader]
) -> None:
    device = broker.link("dev-1")
    device.subscribe(COMMAND)
    readers.append(Reader(broker))
    until_heard(lambda: device.publish(REQUEST, b"dealt with"), device, SETTLED, quiet=0.5)
    device.publish(REQUEST, b"not dealt with")
    readers[0].hears("not dealt with")
    readers[0].kill()
    device.close()
    readers.append(Reader(broker))
    assert readers[1].hears("not dealt with") == [], "what was dealt with does not come again"


def test_a_reader_that_settles_nothing_is_sent_little(broker: BrokerUnderTest) -> None:
    reader, device = broker.link("aggregator", settled=True), broker.link("dev-1")
    reader.subscribe("fl/v1/t/dev/+/up/#")
    until_heard(lambda: device.publish(REQUEST, b"marker"), reader, b"marker", quiet=0.5)
    reader.settle()
    most, sent = MOST[broker.kind], [b"%d" % number for number in range(MOST[broker.kind] + 50)]
    for payload in sent:
        device.publish(REQUEST, payload)
    device.close()
    found = received(reader)
    assert found == sent[:most]
    while len(found) < len(sent):
        reader.settle()
        more = received(reader)
        assert more, "and once it has, the rest comes"
        found += [payload for payload in more if payload not in found]
    assert found == sent


def received(reader: MqttLink) -> list[bytes]:
    found = []
    while (delivery := reader.receive(2.0)) is not None:
        if delivery.payload not in (b"marker", *found):  # NATS sends it again after a while
            found.append(delivery.payload)
    return found
