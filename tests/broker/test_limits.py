"""What a client may take up, and what the log and the status say when it would take more."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect as open_websocket
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from accord.wire import topics
from broker.attempts import Attempts
from broker.config import Limits, Listener
from broker.exchange import Exchange
from broker.gate import Gate
from broker.packets import Packet, read_connect
from broker.status import ask
from broker.strangers import MOST_ADDRESSES, Strangers
from tests.broker.raw_client import PING, RawClient, connect, packet, publish, subscribe
from tests.broker.served import PASSWORDS, TENANT, Served, come, reads
from tests.waiting import until

REQUEST = topics.up(TENANT, "dev-1", "req")
ROUND = topics.job(TENANT, "j", "round")
Serve = Callable[..., Served]


@pytest.mark.parametrize(
    "said",
    [
        packet(0x32, bytes(70_000))[:60_000],
        publish(REQUEST, b"", qos=2),
        publish(REQUEST, b"", number=0),
        b"\x3a\x05\x00\x01a\x00\x00",
        b"\x30\x02\x00\x09",
        b"\x30\x04\x00\x02\xff\xfe",
        connect("dev-1", PASSWORDS["dev-1"]),
        b"\x20\x02\x00\x00",
        b"\xf0\x00",
        b"\xc0\x01a",
        b"\x80\x02\x00\x01",
        b"\x82\x02\x00\x01",
        b"\x82\x06\x00\x00\x00\x01a\x00",
        b"\xa2\x02\x00\x01",
        b"\x40\x01\x00",
        b"\x30\xff\xff\xff\xff\x7f",
    ],
)
def test_a_packet_that_may_not_be_ends_the_connection_and_is_named(
    serve: Serve, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    broker = serve(limits=Limits(packet=50_000))
    device = come(broker, "dev-1")
    device.send(said)
    assert device.ended()
    assert "malformed: dev-1 at 127.0.0.1 is cut off" in caplog.text
    assert ask(broker.state)["refused"] == {"malformed": 1}
    assert come(broker, "dev-1")


def test_who_does_not_read_its_answers_is_not_heard() -> None:
    class Full:
        """A connection whose client reads nothing and says more and more."""

        address, buffered, asked = "127.0.0.1", 0, 0

        async def readexactly(self, size: int) -> bytes:
            self.asked += 1
            assert size == 2
            return PING

        def write(self, data: bytes) -> None:
            self.buffered += 100_000 * len(data)

        async def drain(self) -> None:
            self.stopped.set()
            await asyncio.Event().wait()

    async def story() -> None:
        wire, limits = Full(), Limits(packet=50_000)
        wire.stopped = asyncio.Event()  # type: ignore[attr-defined]
        first = Packet(first=0x10, head=b"", body=connect("dev-1", "password")[2:])
        gate = Gate(
            TENANT,
            read_connect(first),
            first,
            wire,  # type: ignore[arg-type]
            exchange=Exchange(limits, Attempts(time.monotonic)),
            limits=limits,
            attempts=Attempts(time.monotonic),
        )
        assert await gate.read(len(first.body)) == first.body
        reading = asyncio.ensure_future(gate.read(1))
        await asyncio.wait_for(wire.stopped.wait(), 10)  # type: ignore[attr-defined]
        assert wire.asked < 10
        reading.cancel()
        gate.close()

    asyncio.run(story())


def test_an_address_may_not_come_too_often(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    broker = serve(limits=Limits(at_once=5, per_second=0.001))
    for _ in range(5):
        with RawClient(broker.port) as client:
            assert client.login("dev-1", PASSWORDS["dev-1"]) == 0
    with RawClient(broker.port) as client:
        assert client.ended()
    assert "rate: 127.0.0.1 comes too often" in caplog.text


def test_who_does_not_log_in_must_leave(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    broker = serve(limits=Limits(login=0.5))
    for said in (b"", b"\x10", b"\x10\x30\x00\x04MQTT"):
        with RawClient(broker.port) as client:
            client.send(said)
            assert client.ended()
    assert "late: 127.0.0.1 did not log in within" in caplog.text


def test_strangers_make_room_for_who_comes_later(serve: Serve) -> None:
    broker = serve(limits=Limits(strangers=5))
    idle = [RawClient(broker.port) for _ in range(20)]
    assert all(one.ended() for one in idle[:15])
    assert come(broker, "dev-1")
    assert ask(broker.state)["refused"]["crowd"] >= 15


def test_no_more_clients_than_said(serve: Serve) -> None:
    broker = serve(limits=Limits(clients=1))
    assert come(broker, "dev-1")
    with RawClient(broker.port) as other:
        assert other.login("dev-2", PASSWORDS["dev-2"]) == 3
    assert come(broker, "dev-1")  # its own older connection makes room


def test_no_more_subscriptions_than_said(serve: Serve) -> None:
    broker = serve(limits=Limits(filters=3))
    device = come(broker, "dev-1")
    jobs = [topics.job(TENANT, f"j{number}", "round") for number in range(5)]
    assert device.subscribe(*jobs) == b"\1\1\1\x80\x80"
    assert device.subscribe(jobs[0], qos=2) == b"\1"


def test_one_packet_does_not_name_filters_without_end(serve: Serve) -> None:
    broker = serve(limits=Limits(filters=200))
    device, other = come(broker, "dev-1"), come(broker, "dev-2")
    refused = ["fl/v1/t/bcast/#"] * 199 + ["fl/v1/t/dev/+/up/#"]
    assert device.subscribe(*refused) == b"\x80" * 200
    reads(device)
    for first in (0x82, 0xA2):
        tail = b"\1" if first == 0x82 else b""
        with RawClient(broker.port) as greedy:
            assert greedy.login("dev-1", PASSWORDS["dev-1"]) == 0
            greedy.send(packet(first, b"\0\1" + (b"\0\1a" + tail) * 201))
            assert greedy.ended()
    reads(other)
    assert ask(broker.state)["refused"]["malformed"] == 2


def test_a_stranger_may_not_send_a_frame_as_large_as_a_packet(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    broker = serve(Listener(port=0, websocket=True, insecure=True), limits=Limits(login=30))
    speaker = ClientProtocol(parse_uri("ws://localhost"), subprotocols=[Subprotocol("mqtt")])
    speaker.send_request(speaker.connect())
    with RawClient(broker.port) as stranger:
        stranger.send(b"".join(speaker.data_to_send()))
        stranger.send(Frame(Opcode.BINARY, connect("dev-1", "x" * 5_000)).serialize(mask=True)[:20])  # its length alone
        assert stranger.ended()
    said = "malformed: 127.0.0.1 is turned away: a WebSocket's frame that is too large"
    until(lambda: said in caplog.text, "the log names it")
    with open_websocket(f"ws://localhost:{broker.port}", subprotocols=[Subprotocol("mqtt")], proxy=None) as device:
        device.send(connect("dev-1", PASSWORDS["dev-1"]))
        assert device.recv(10) == b"\x20\x02\x00\x00"
        device.send(publish(REQUEST, bytes(1 << 19)))
        assert device.recv(10) == b"\x40\x02\x00\x01"


def test_pongs_that_nobody_reads_wait_within_bounds(serve: Serve) -> None:
    broker = serve(Listener(port=0, websocket=True, insecure=True), limits=Limits(packet=8_192, login=30))
    stranger = RawClient(broker.port, receive_buffer=4_096)
    speaker = ClientProtocol(parse_uri("ws://localhost"), subprotocols=[Subprotocol("mqtt")])
    speaker.send_request(speaker.connect())
    stranger.send(b"".join(speaker.data_to_send()))
    pings = Frame(Opcode.PING, bytes(125)).serialize(mask=True) * 1_000
    stranger._socket.settimeout(1)

    def flood() -> None:
        for _ in range(1_000):
            stranger.send(pings)

    with pytest.raises(TimeoutError):  # the broker takes nothing more
        flood()


def test_a_subscription_again_and_again_does_not_bring_retained_letters_without_end(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    broker = serve(limits=Limits(replay=20_000))
    aggregator, device, other = come(broker, "aggregator"), come(broker, "dev-1", keepalive=1), come(broker, "dev-2")
    for number in range(10):
        aggregator.send(publish(topics.job(TENANT, f"j{number}", "round"), bytes(10_000), retain=True))
    reads(aggregator)
    device.send(subscribe("fl/v1/t/bcast/#") * 1_000)
    until(lambda: "subscribe: dev-1 subscribes to retained letters too often" in caplog.text, "it is made to wait")
    sent = ask(broker.state)["bytes_out"]
    assert 200_000 < sent < 500_000, "ten seconds' worth, and not a thousand times 100,000"
    assert len(other_heard(other)) == 10, "others are served"
    assert not device.ended(2.5), "its silence is ours"
    device.vanish()
    with RawClient(broker.port) as again:  # a new connection is no new allowance
        assert again.login("dev-1", PASSWORDS["dev-1"]) == 0
        again.send(subscribe("fl/v1/t/bcast/#") * 1_000)
        reads(other)
        assert ask(broker.state)["bytes_out"] - sent < 300_000


def other_heard(other: RawClient) -> list[bytes]:
    other.send(subscribe("fl/v1/t/bcast/#"))
    return [one.payload for one in other.letters(10)]


def test_a_retained_letter_has_a_bound(serve: Serve) -> None:
    broker = serve(limits=Limits(retained=1_000))
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1")
    for number, size in ((1, 900), (2, 1_001)):
        aggregator.send(publish(topics.job(TENANT, f"j{number}", "round"), bytes(size), retain=True))
    reads(aggregator)
    device.send(subscribe("fl/v1/t/bcast/#"))
    assert [len(one.payload) for one in device.letters(2, 0.5)] == [900]


def test_addresses_are_remembered_within_bounds_and_ipv6_by_network() -> None:
    strangers = Strangers(per_second=1, at_once=2, most=10)
    assert [strangers.welcome("10.0.0.1", 0) for _ in range(3)] == [True, True, False]
    assert strangers.welcome("10.0.0.1", 1.5)
    assert [strangers.welcome(f"2001:db8::{n}", 0) for n in range(1, 4)] == [True, True, False]
    assert strangers.welcome("2001:db8:0:1::1", 0)
    assert not strangers.welcome("::ffff:10.0.0.1", 1.5)
    for number in range(2 * MOST_ADDRESSES):
        strangers.welcome(str(number), 2)
    assert len(strangers._left) == MOST_ADDRESSES


def test_a_half_open_connection_costs_nothing_after_its_time(serve: Serve) -> None:
    broker = serve(limits=Limits(login=0.3))
    with socket.create_connection(("127.0.0.1", broker.port)):
        until(lambda: ask(broker.state)["strangers"] == 0, "it is sent away")


def test_a_reader_whose_session_is_being_forgotten_costs_no_sender_its_connection() -> None:
    async def story() -> None:
        exchange = Exchange(Limits(), Attempts(time.monotonic))
        assert await exchange.add_subscription(("a", 1), SimpleNamespace(client_id="dev-1")) == 1  # type: ignore[arg-type]
        assert exchange.publish("aggregator", "a", b"x", 1, retain=False) == []

    asyncio.run(story())
