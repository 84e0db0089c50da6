"""What every broker must do for us, over real connections: the embedded one and Mosquitto."""

import socket
import subprocess
import sys

import pytest
from brokers_under_test import PASSWORDS, RealBroker, until

from accord.entropy import SystemEntropy
from accord.link import Delivery, LinkError
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
from accord.wire import topics

REQUEST = topics.up("t", "dev-1", "req")
COMMAND = topics.down("t", "dev-1", "cmd")
ROUND = topics.job("t", "j", "round")
STATE = topics.up("t", "dev-1", "state")
EVERYTHING = "fl/v1/t/dev/+/up/#"


def ready(link: MqttLink, topic_filter: str, sender: MqttLink, topic: str) -> None:
    """Wait until a subscription works, by sending markers through it."""
    link.subscribe(topic_filter)

    def heard() -> bool:
        sender.publish(topic, b"marker")
        found = link.receive(0.2)
        return found is not None and found.payload == b"marker"

    until(heard, f"{topic_filter} is heard")
    while link.receive(0.3) is not None:
        pass


def test_letters_go_both_ways_in_order_and_large(real: RealBroker) -> None:
    aggregator, device = real.link("aggregator"), real.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    ready(device, COMMAND, aggregator, COMMAND)
    sent = [number.to_bytes(2, "big") * 30_000 for number in range(100)]
    for payload in sent:
        device.publish(REQUEST, payload)
    assert [found.payload for _ in sent if (found := aggregator.receive(10))] == sent
    aggregator.publish(COMMAND, b"plan")
    assert device.receive(10) == Delivery(topic=COMMAND, payload=b"plan")
    assert device.bytes_up > 100 * 60_000
    with pytest.raises(LinkError, match="in pieces"):
        device.publish(REQUEST, bytes((1 << 20) + 1))


def test_retained_announcements_reach_those_who_subscribe_alone(real: RealBroker) -> None:
    aggregator = real.link("aggregator")
    aggregator.publish(ROUND, b"old", retain=True)
    aggregator.publish(ROUND, b"open", retain=True)
    device, other = real.link("dev-1"), real.link("dev-2")
    ready(aggregator, EVERYTHING, device, REQUEST)  # what was published before has arrived
    device.subscribe(ROUND)
    found = device.receive(10)
    assert found is not None
    assert (found.payload, found.retained) == (b"open", True)
    assert other.receive(0.5) is None
    device.unsubscribe(ROUND)
    ready(device, COMMAND, aggregator, COMMAND)
    aggregator.publish(ROUND, b"new")
    assert device.receive(0.5) is None


def test_topic_rules_hold_for_both_directions(real: RealBroker) -> None:
    aggregator, one, two = real.link("aggregator"), real.link("dev-1"), real.link("dev-2")
    ready(aggregator, EVERYTHING, one, REQUEST)
    ready(two, ROUND, aggregator, ROUND)
    for foreign in (COMMAND, EVERYTHING, "#", "fl/v1/+/bcast/#"):
        two.subscribe(foreign)
    two.publish(REQUEST, b"forged")
    two.publish(ROUND, b"forged")
    two.publish(COMMAND, b"forged")
    two.publish(topics.up("t", "dev-2", "req"), b"own")
    found = aggregator.receive(10)
    assert found == Delivery(topic=topics.up("t", "dev-2", "req"), payload=b"own")
    aggregator.publish(COMMAND, b"secret")
    one.publish(REQUEST, b"private")
    assert aggregator.receive(10) is not None
    assert two.receive(0.5) is None


def test_identity_is_bound_before_a_session_is_touched(real: RealBroker) -> None:
    aggregator, victim = real.link("aggregator"), real.link("dev-1")
    ready(victim, COMMAND, aggregator, COMMAND)
    with pytest.raises(LinkError, match="password"):
        real.link("dev-1", password="wrong" * 5)
    try:
        intruder = real.link("dev-2", client_id="dev-1", password=PASSWORDS["dev-2"])
    except LinkError:
        intruder = None
    aggregator.publish(COMMAND, b"for dev-1")
    assert victim.receive(10) == Delivery(topic=COMMAND, payload=b"for dev-1")
    assert intruder is None or intruder.receive(0.5) is None
    assert victim.connections == 1


def test_a_take_over_leaves_the_new_connection_hearing(real: RealBroker) -> None:
    aggregator, old = real.link("aggregator"), real.link("dev-1")
    ready(old, COMMAND, aggregator, COMMAND)
    old._closed.set()  # it must not come back and take over in turn
    new = real.link("dev-1")
    ready(new, COMMAND, aggregator, COMMAND)
    aggregator.publish(COMMAND, b"once")
    assert new.receive(10) == Delivery(topic=COMMAND, payload=b"once")


DEVICE = """
import sys
from accord.entropy import SystemEntropy
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.port import Will
port, password, topic = int(sys.argv[1]), sys.stdin.readline().strip(), sys.argv[2]
link = MqttLink(
    Address(host="127.0.0.1", port=port, client_id="dev-1", password=password),
    entropy=SystemEntropy(), will=Will(topic=topic, payload=b"gone"),
)
link.publish(topic, b"here", retain=True)
sys.stdin.read()
link.close()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_will_is_published_for_a_killed_process_and_not_for_an_orderly_one(real: RealBroker, killed: bool) -> None:
    aggregator, device = real.link("aggregator"), real.link("dev-2")
    ready(aggregator, EVERYTHING, device, topics.up("t", "dev-2", "req"))
    process = subprocess.Popen([sys.executable, "-c", DEVICE, str(real.port), STATE], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(PASSWORDS["dev-1"].encode() + b"\n")
    process.stdin.flush()
    assert aggregator.receive(20) == Delivery(topic=STATE, payload=b"here")
    if killed:
        process.kill()
        assert aggregator.receive(10) == Delivery(topic=STATE, payload=b"gone")
    else:
        process.stdin.close()
        process.wait(10)
        assert aggregator.receive(0.5) is None
    process.wait(10)
    process.stdin.close()


def test_a_restarted_broker_is_found_again_with_subscriptions_and_queued_letters(real: RealBroker) -> None:
    aggregator, device = real.link("aggregator"), real.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    real.stop()
    until(lambda: not device.connected and not aggregator.connected, "the links notice")
    device.publish(STATE, b"queued", retain=True)
    real.start()
    until(lambda: aggregator.connections == 2 and device.connections == 2, "the links come back", 60)
    found = aggregator.receive(20)  # by the old subscription, now or as a retained letter
    assert found is not None
    assert (found.topic, found.payload) == (STATE, b"queued")


def test_closing_loses_nothing(real: RealBroker) -> None:
    aggregator, device = real.link("aggregator"), real.link("dev-1")
    ready(aggregator, EVERYTHING, device, REQUEST)
    sent = [number.to_bytes(2, "big") * 20_000 for number in range(100)]
    for payload in sent:
        device.publish(REQUEST, payload)
    device.close()
    assert [found.payload for _ in sent if (found := aggregator.receive(10))] == sent


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(LinkError, match="is it running"):
        MqttLink(
            Address(host="127.0.0.1", port=port, client_id="dev-1", password="p"),
            entropy=SystemEntropy(),
            will=Will(topic=STATE, payload=b""),
        )


def raw(real: RealBroker, data: bytes) -> bytes:
    """Send bytes to the broker and return what it answers before it closes."""
    with socket.create_connection((real.host, real.port), 10) as client:
        client.sendall(data)
        found = b""
        while True:
            try:
                part = client.recv(100)
            except ConnectionResetError:
                return found
            if not part:
                return found
            found += part


def test_other_versions_and_noise_are_turned_away(real: RealBroker) -> None:
    if real.kind != "embedded":
        pytest.skip("Mosquitto speaks MQTT 5 itself")
    five = b"\x10\x12\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x05dev-1"
    assert raw(real, five) == b"\x20\x03\x00\x84\x00"
    assert raw(real, b"GET / HTTP/1.1\r\n\r\n") == b""
    assert raw(real, b"\x10\xff\xff\xff\x7f") == b""
    assert raw(real, b"\x10\xff\xff\xff\xff\x7f") == b""
    assert real.link("dev-1").connected
