"""An MQTT 3.1.1 client in asyncio that costs next to nothing, so that one process can play a whole fleet."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from accord.link.session import Session, session_id

PATIENCE = 60.0  # seconds for an answer, and for the storm
Running = tuple[int, int, Session]  # port, process id, under which MQTT client id a session is kept


def field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


class Client(asyncio.Protocol):
    """One MQTT 3.1.1 client that acknowledges at once and hands every letter to `heard`."""

    def __init__(
        self, name: str, password: str, heard: Callable[[str, bytes], None], *, clean: bool, session: Session
    ) -> None:
        self._name, self._heard = name, heard
        flags = 0xC2 if clean else 0xC0
        said = (session_id(name, password, session), name, password)
        parts = field(b"MQTT") + bytes([4, flags, 0, 60]) + b"".join(field(text.encode()) for text in said)
        self._first = packet(0x10, parts)
        self._held = bytearray()
        self._answers: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        transport.write(self._first)  # type: ignore[attr-defined]

    def connection_lost(self, _error: Exception | None) -> None:
        self._answers.put_nowait((0, b""))

    def data_received(self, data: bytes) -> None:
        held = self._held
        held += data
        at = 0
        while len(held) - at >= 2:
            size, shift, end = 0, 0, at + 1
            while end < len(held):
                size |= (held[end] & 0x7F) << shift
                shift, end = shift + 7, end + 1
                if held[end - 1] < 0x80:
                    break
            else:
                break
            if held[end - 1] >= 0x80 or len(held) < end + size:
                break
            self._packet(held[at], bytes(held[end : end + size]))
            at = end + size
        del held[:at]

    def _packet(self, first: int, body: bytes) -> None:
        if first >> 4 == 3:
            end = 2 + int.from_bytes(body[:2], "big")
            topic, start = body[2:end].decode(), end + 2 * (first >> 1 & 1)
            if first >> 1 & 1:
                self.transport.write(b"\x40\x02" + body[end:start])
            self._heard(topic, body[start:])
        elif first >> 4 != 4:
            self._answers.put_nowait((first, body))

    async def answer(self, first: int) -> bytes:
        found, body = await asyncio.wait_for(self._answers.get(), PATIENCE)
        if found != first or (first == 0x20 and body[1]):
            raise ConnectionError(f"{self._name} got {found:#x} {body!r}")
        return body

    async def subscribe(self, topic_filter: str) -> None:
        self.transport.write(packet(0x82, b"\0\1" + field(topic_filter.encode()) + b"\1"))
        await self.answer(0x90)

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self._number = self._number % 60_000 + 1
        number = self._number.to_bytes(2, "big") if qos else b""
        self.transport.write(packet(0x30 | qos << 1, field(topic.encode()) + number + payload))


async def come(
    running: Running,
    name: str,
    passwords: Mapping[str, str],
    heard: Callable[[str, bytes], None],
    *,
    clean: bool = True,
) -> Client:
    """Log in, again and again while the broker turns us away for now."""
    loop, (port, _process, session) = asyncio.get_running_loop(), running
    while True:
        client = Client(name, passwords[name], heard, clean=clean, session=session)
        try:
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
            await client.answer(0x20)
        except (OSError, TimeoutError):
            await asyncio.sleep(0.1)
            continue
        return client
