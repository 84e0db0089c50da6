"""A client that says exactly what a test tells it, byte by byte, over TCP, TLS or a WebSocket."""

import select
import socket
import ssl
import time
from types import TracebackType
from typing import ClassVar

from typing_extensions import Self


def field(data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    size, length = len(body), b""
    while True:
        size, low = divmod(size, 128)
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect(
    client: str,
    password: str | None = None,
    *,
    username: str | None = None,
    clean: bool = True,
    keepalive: int = 30,
    will: tuple[str, bytes, int, bool] | None = None,
    level: int = 4,
) -> bytes:
    """A CONNECT; a will is a topic, a payload, a QoS and whether it is kept."""
    flags, tail = 2 * clean, b""
    if will is not None:
        flags |= 4 | will[2] << 3 | will[3] << 5
        tail += field(will[0]) + field(will[1])
    if password is not None:
        flags |= 0xC0
        tail += field(client if username is None else username) + field(password)
    properties = b"\0" if level == 5 else b""
    return packet(
        0x10, field("MQTT") + bytes([level, flags]) + keepalive.to_bytes(2, "big") + properties + field(client) + tail
    )


def publish(topic: str, payload: bytes, qos: int = 1, number: int = 1, *, retain: bool = False) -> bytes:
    mid = number.to_bytes(2, "big") if qos else b""
    return packet(0x30 | qos << 1 | retain, field(topic) + mid + payload)


def subscribe(*filters: str, qos: int = 1, number: int = 1) -> bytes:
    return packet(0x82, number.to_bytes(2, "big") + b"".join(field(item) + bytes([qos]) for item in filters))


def puback(number: int) -> bytes:
    return packet(0x40, number.to_bytes(2, "big"))


PING, PONG, GOODBYE = b"\xc0\x00", (0xD0, b""), b"\xe0\x00"


class Letter:
    """A PUBLISH that came."""

    def __init__(self, first: int, body: bytes) -> None:
        size = int.from_bytes(body[:2], "big")
        self.topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        self.qos, self.retain, self.duplicate = first >> 1 & 3, bool(first & 1), bool(first & 8)
        self.number = int.from_bytes(rest[:2], "big") if self.qos else 0
        self.payload = rest[2:] if self.qos else rest


class RawClient:
    """One connection; the end of the test ends those that it left open."""

    open: ClassVar[list["RawClient"]] = []

    def __init__(self, port: int, tls: ssl.SSLContext | None = None, *, receive_buffer: int = 0) -> None:
        self._socket = socket.socket()
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", port))
        self._held = b""
        self.open.append(self)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def vanish(self) -> None:
        """End the connection without a word."""
        self._socket.close()

    def next(self, timeout: float = 10.0) -> tuple[int, bytes] | None:
        """Return the next packet, or None when none comes in time or the broker ended the connection."""
        until = time.monotonic() + timeout
        while True:
            found = self._cut()
            if found is not None:
                return found
            data = self._more(until - time.monotonic())
            if not data:
                return None
            self._held += data

    def ended(self, timeout: float = 10.0) -> bool:
        """Return whether the broker ends the connection in time, whatever it sends before."""
        until = time.monotonic() + timeout
        while (data := self._more(until - time.monotonic())) is not None:
            if data == b"":
                return True
        return False

    def login(self, *arguments: str | None, **more: object) -> int | None:
        """Say CONNECT and return the code of the CONNACK, None where there is none."""
        self.send(connect(*arguments, **more))  # type: ignore[arg-type]
        found = self.next()
        if found is None:
            return None
        assert found[0] == 0x20, found
        return found[1][1]

    def subscribe(self, *filters: str, qos: int = 1) -> bytes:
        """Subscribe and return the codes of the SUBACK."""
        self.send(subscribe(*filters, qos=qos, number=77))
        found = self.next()
        assert found is not None
        assert found[0] == 0x90, found
        return found[1][2:]

    def letter(self, timeout: float = 10.0) -> Letter | None:
        """Return the next PUBLISH, passing over acknowledgements."""
        until = time.monotonic() + timeout
        while (found := self.next(max(0.0, until - time.monotonic()))) is not None:
            if found[0] >> 4 == 3:
                return Letter(*found)
        return None

    def letters(self, count: int, timeout: float = 10.0, *, acknowledge: bool = True) -> list[Letter]:
        """Return the next letters, at most `count` and as many as come in time."""
        found: list[Letter] = []
        until = time.monotonic() + timeout
        while len(found) < count and (one := self.letter(max(0.0, until - time.monotonic()))) is not None:
            found.append(one)
            if acknowledge and one.qos:
                self.send(puback(one.number))
        return found

    def _more(self, timeout: float) -> bytes | None:
        """Return what came, b"" at the end of the connection, or None when nothing came in time."""
        pending = self._socket.pending() if isinstance(self._socket, ssl.SSLSocket) else 0
        if not pending and not select.select([self._socket], [], [], max(0.0, timeout))[0]:
            return None
        try:
            return self._socket.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def _cut(self) -> tuple[int, bytes] | None:
        size, shift, at = 0, 0, 1
        while True:
            if at >= len(self._held):
                return None
            size |= (self._held[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if self._held[at - 1] < 0x80:
                break
        if len(self._held) < at + size:
            return None
        found = self._held[0], self._held[at : at + size]
        self._held = self._held[at + size :]
        return found
