"""Packets at the front door: what is well formed is read, and everything else is refused without harm."""

import asyncio
import contextlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError
from broker import packets
from broker.gate import read_packet
from broker.packets import Packet


def field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def connect(level: int = 4, flags: int = 0xC2, will: bytes = b"") -> Packet:
    body = field(b"MQTT") + bytes([level, flags]) + b"\0\x1e" + field(b"dev-1") + will + field(b"dev-1") + field(b"pw")
    return Packet(first=0x10, head=b"", body=body)


def test_connect_is_read() -> None:
    found = packets.read_connect(connect())
    assert (found.client, found.username, found.password, found.keepalive) == ("dev-1", "dev-1", b"pw", 30)
    assert "pw" not in repr(found)
    assert packets.read_connect(connect(flags=0xE6 & ~0x18 | 0x08, will=field(b"t") + field(b"w"))).will_topic == "t"
    assert packets.read_connect(connect(level=5)).level == 5


@pytest.mark.parametrize("packet", [connect(flags=0x42), connect(flags=0xC3), connect(flags=0xDA), connect(will=b"x")])
def test_connects_that_are_refused(packet: Packet) -> None:
    with pytest.raises(CodecError):
        packets.read_connect(packet)


@given(st.integers(0, 255), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(first: int, body: bytes) -> None:
    packet = Packet(first=first, head=b"", body=body)
    for read in (
        packets.read_connect,
        packets.read_publish,
        partial(packets.read_subscribe, most=3),
        partial(packets.read_unsubscribe, most=3),
        packets.read_puback,
    ):
        with contextlib.suppress(CodecError):
            read(packet)


def test_no_more_filters_are_read_than_are_taken() -> None:
    """A quarter of a million fit into one packet: what stands behind the first ones is not even looked at."""
    number, behind = b"\0\x01", b"\xff\xff, and then nothing"
    subscribe = Packet(first=0x82, head=b"", body=number + 3 * (field(b"a") + b"\x01"))
    unsubscribe = Packet(first=0xA2, head=b"", body=number + 3 * field(b"a"))
    assert packets.read_subscribe(subscribe, 3) == (number, ["a"] * 3)
    assert packets.read_unsubscribe(unsubscribe, 3) == ["a"] * 3
    for read, packet in ((packets.read_subscribe, subscribe), (packets.read_unsubscribe, unsubscribe)):
        more = Packet(first=packet.first, head=b"", body=packet.body + behind)
        with pytest.raises(CodecError, match="more than 3 filters"):
            read(more, 3)
        with pytest.raises(CodecError, match="ends in the middle"):
            read(more, 4)


@given(st.binary(max_size=40))
def test_frames_are_bounded(data: bytes) -> None:
    async def story() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            packet = await read_packet(reader, 20)
        except (CodecError, asyncio.IncompleteReadError):
            return
        assert len(packet.body) <= 20
        assert data.startswith(packet.data)

    asyncio.run(story())
