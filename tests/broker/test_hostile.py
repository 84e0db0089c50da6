"""Whoever is not who they say, or wants what is not theirs, gets nothing and takes nothing, and the log names them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from accord.entropy import SystemEntropy
from accord.wire import topics
from broker import credentials
from broker.config import Listener
from broker.credentials import Login
from broker.status import ask
from tests.broker.malformed import siege
from tests.broker.raw_client import GOODBYE, RawClient, packet, publish, subscribe
from tests.broker.served import PASSWORDS, TENANT, Served
from tests.waiting import until

COMMAND = topics.down(TENANT, "dev-1", "cmd")
STATE = topics.up(TENANT, "dev-1", "state")
ROUND = topics.job(TENANT, "j", "round")
OF_OTHERS = (
    STATE,
    topics.up(TENANT, "dev-1", "req"),
    topics.upload(TENANT, "dev-1", 0, bytes(16)),
    COMMAND,
    topics.down(TENANT, "dev-1", "rsp"),
    topics.down(TENANT, "dev-2", "cmd"),
    ROUND,
    topics.roles(TENANT),
    topics.piece(TENANT, "0" * 64),
    topics.aggregator_state(TENANT),
    topics.up("other", "dev-2", "req"),
    topics.up(TENANT, "dev-2", "req") + "/more",
    topics.up(TENANT, "dev-2/../dev-1", "req"),
    "$SYS/broker",
    "",
    "anything",
)
FILTERS = (
    "#",
    "+/#",
    "$SYS/#",
    "fl/v1/+/dev/dev-2/down/#",
    "fl/v1/t/dev/+/down/#",
    "fl/v1/t/dev/+/up/#",
    "fl/v1/t/#",
    "fl/v1/+/bcast/#",
    COMMAND,
    STATE,
    "fl/v1/t/dev/dev-1/#",
    "$share/g/fl/v1/t/dev/dev-1/down/cmd",
)


def come(broker: Served, client: str, *, clean: bool = True) -> RawClient:
    found = RawClient(broker.port)
    assert found.login(client, PASSWORDS[client], clean=clean) == 0
    return found


def test_a_neighbour_tries_every_topic_and_filter(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    aggregator, victim, neighbour = come(served, "aggregator"), come(served, "dev-1"), come(served, "dev-2")
    aggregator.subscribe(topics.everything_up(TENANT)[0])
    victim.subscribe(topics.down(TENANT, "dev-1", "#"), "fl/v1/t/bcast/#", "fl/v1/t/agg/state")
    for qos in (0, 1):
        for retain in (False, True):
            for topic in OF_OTHERS:
                neighbour.send(publish(topic, b"forged", qos, retain=retain))
                if qos:
                    assert neighbour.next() == (0x40, b"\0\1")
    for topic_filter in FILTERS:
        assert neighbour.subscribe(topic_filter) == b"\x80", topic_filter
        assert neighbour.subscribe("fl/v1/t/bcast/#", topic_filter) == b"\x80\x80"
    neighbour.send(publish(topics.up(TENANT, "dev-2", "req"), b"own"))
    assert [one.payload for one in aggregator.letters(1)] == [b"own"]
    aggregator.send(publish(COMMAND, b"for dev-1", number=1) + publish(ROUND, b"for all", number=2))
    assert [one.payload for one in victim.letters(2)] == [b"for dev-1", b"for all"]
    assert neighbour.letter(0.3) is None
    assert ask(served.state)["retained"] == 0
    assert "publish: dev-2 may not publish to 'fl/v1/t/dev/dev-1/up/state'" in caplog.text
    assert "subscribe: dev-2 may not subscribe to ['#']" in caplog.text
    assert ask(served.state)["refused"]["publish"] == 4 * len(OF_OTHERS)


def test_a_will_is_judged_like_a_publication(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    for topic in (STATE, COMMAND, ROUND, "#"):
        with RawClient(served.port) as neighbour:
            assert neighbour.login("dev-2", PASSWORDS["dev-2"], will=(topic, b"forged", 1, True)) == 5
    assert "will: dev-2 brings a will for" in caplog.text


def test_a_will_is_kept_only_where_a_publication_would_be(served: Served) -> None:
    aggregator = come(served, "aggregator")
    aggregator.subscribe(topics.everything_up(TENANT)[0])
    for topic in (*(topics.upload(TENANT, "dev-1", 0, bytes([number] * 16)) for number in range(5)), STATE):
        with RawClient(served.port) as device:
            assert device.login("dev-1", PASSWORDS["dev-1"], will=(topic, b"gone", 1, True)) == 0
        assert [one.topic for one in aggregator.letters(1)] == [topic]
    until(lambda: ask(served.state)["retained"] == 1, "its birth alone is kept")


def test_what_is_no_websocket_is_quoted_in_the_log(
    serve: Callable[..., Served], caplog: pytest.LogCaptureFixture
) -> None:
    broker = serve(Listener(port=0, websocket=True, insecure=True))
    with RawClient(broker.port) as stranger:
        stranger.send(b"GET \x1b[2J" + b"x" * 2_000 + b"\r\n\r\n")
        assert stranger.ended()
    until(lambda: "not a request for a WebSocket" in caplog.text, "the log names it")
    assert "\x1b" not in caplog.text
    assert "x" * 200 not in caplog.text


def test_strangers_and_the_revoked_touch_no_session(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    aggregator, victim = come(served, "aggregator"), come(served, "dev-1", clean=False)
    victim.subscribe(COMMAND)
    aggregator.send(publish(COMMAND, b"first", number=1))
    assert victim.letters(1, acknowledge=False)
    victim.vanish()
    aggregator.send(publish(COMMAND, b"second", number=2))
    credentials.add(served.clients, [Login(client="dev-3", secret="3" * 20)], SystemEntropy(), now=0)
    credentials.remove(served.clients, ["dev-3"])
    for client, secret, username in (
        ("dev-1", None, None),
        ("dev-1", "guessed", None),
        ("dev-1", "", None),
        ("dev-1", PASSWORDS["dev-2"], "dev-2"),
        ("dev-1", PASSWORDS["dev-2"], None),
        ("dev-1", "3" * 20, "dev-3"),
        ("dev-3", "3" * 20, None),
        ("", PASSWORDS["dev-1"], "dev-1"),
        ("aggregator", PASSWORDS["dev-2"], "dev-2"),
        ("dev-1/", PASSWORDS["dev-1"], "dev-1"),
        ("#", "guessed", None),
    ):
        for clean in (False, True):
            with RawClient(served.port) as stranger:
                assert stranger.login(client, secret, username=username, clean=clean) in (4, 5)
                assert stranger.ended()
            with RawClient(served.port) as stranger:  # what is said behind a login that is refused is not heard
                stranger.send(
                    packet(0x10, b"\0\4MQTT\4\2\0\0\0\5dev-1")
                    + subscribe(COMMAND)
                    + publish(topics.up(TENANT, "dev-1", "req"), b"forged")
                    + GOODBYE
                )
                assert stranger.ended()
    again = come(served, "dev-1", clean=False)
    assert [one.payload for one in again.letters(2)] == [b"first", b"second"]
    assert "identity: 127.0.0.1 with a login of 'dev-2' poses as 'dev-1'" in caplog.text
    assert "secret: 127.0.0.1 as 'dev-3' is not known" in caplog.text


def test_two_thousand_damaged_packets_do_no_harm(tmp_path: Path) -> None:
    found = siege(tmp_path / "broker", 2_000, 29, lambda _what: None)
    refused = found["refused"]
    assert isinstance(refused, dict)
    assert refused["malformed"] > 100
    assert {"publish", "subscribe", "identity", "secret", "version"} <= set(refused)


def test_a_damaged_packet_over_a_websocket_ends_it_too(serve: Callable[..., Served]) -> None:
    from websockets.exceptions import ConnectionClosed  # noqa: PLC0415
    from websockets.sync.client import connect as open_websocket  # noqa: PLC0415

    broker = serve(Listener(port=0, websocket=True, insecure=True))
    with open_websocket(f"ws://localhost:{broker.port}", subprotocols=["mqtt"], proxy=None) as client:
        client.send(b"\x20\x02\x00\x00")
        with pytest.raises(ConnectionClosed):
            client.recv(10)
    assert ask(broker.state)["refused"] == {"malformed": 1}
