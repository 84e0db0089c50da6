"""What the front door must read of MQTT 3.1.1: frames, CONNECT, topics and filters. Nothing is trusted."""

from dataclasses import dataclass, field

from accord.errors import CodecError

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
ACCEPTED_TYPES = frozenset({PUBLISH, PUBACK, SUBSCRIBE, 10, 12, 14})
"""What a client may send after CONNECT: also UNSUBSCRIBE, PINGREQ and DISCONNECT. QoS 2 is not spoken here."""
REFUSED_VERSION, REFUSED_ID, REFUSED_PASSWORD, REFUSED_CLIENT = 1, 2, 4, 5


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One frame: its first byte, its body, and all of its bytes."""

    first: int
    body: bytes = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def kind(self) -> int:
        """The control packet type (MQTT 3.1.1, section 2.2.1)."""
        return self.first >> 4

    def not_retained(self) -> "Packet":
        """Return a PUBLISH without its RETAIN flag (section 3.3.1.3)."""
        first = self.first & 0xFE
        return self if first == self.first else Packet(first=first, body=self.body, data=bytes([first]) + self.data[1:])


@dataclass(frozen=True, kw_only=True)
class Connect:
    """What a CONNECT says (MQTT 3.1.1, section 3.1); the password does not show."""

    level: int
    client: str
    username: str | None
    password: bytes | None = field(repr=False)
    keepalive: int
    will_topic: str


class _Cursor:
    """Reads fields of a body in order."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._body)

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        part = self._body[self._at : self._at + size]
        if len(part) < size:
            raise CodecError("a packet ends in the middle of a field")
        self._at += size
        return part

    def binary(self) -> bytes:
        """Return a field with a length of two bytes."""
        return self.take(int.from_bytes(self.take(2), "big"))

    def text(self) -> str:
        """Return a UTF-8 field."""
        try:
            return self.binary().decode()
        except UnicodeDecodeError as error:
            raise CodecError("a text is not UTF-8") from error


def read_connect(packet: Packet) -> Connect:
    """Return the CONNECT in a client's first packet.

    Raises:
        CodecError: it is not a CONNECT, or not well formed.
    """
    if packet.first != CONNECT << 4:
        raise CodecError("the first packet is not CONNECT")
    cursor = _Cursor(packet.body)
    if cursor.text() != "MQTT":
        raise CodecError("the protocol is not MQTT")
    level, flags = cursor.take(1)[0], cursor.take(1)[0]
    keepalive = int.from_bytes(cursor.take(2), "big")
    if level != 4:
        return Connect(level=level, client="", username=None, password=None, keepalive=0, will_topic="")
    if flags & 1 or flags >> 3 & 3 > 1 or flags & 0xC0 == 0x40 or (not flags & 4 and flags & 0x38):
        raise CodecError("CONNECT has flags that do not go together, or a will of QoS 2")
    client = cursor.text()
    will_topic = ""
    if flags & 4:
        will_topic = cursor.text()
        cursor.binary()
    username = cursor.text() if flags & 0x80 else None
    password = cursor.binary() if flags & 0x40 else None
    if not cursor.done:
        raise CodecError("bytes are left over behind CONNECT")
    return Connect(
        level=level, client=client, username=username, password=password, keepalive=keepalive, will_topic=will_topic
    )


def read_publish(packet: Packet) -> tuple[str, int, bytes]:
    """Return the topic, the QoS and the packet id (2 bytes, none at QoS 0) of a PUBLISH.

    Raises:
        CodecError: not well formed, or QoS 2.
    """
    qos = packet.first >> 1 & 3
    if qos > 1:
        raise CodecError("QoS 2 is not spoken here")
    cursor = _Cursor(packet.body)
    topic = cursor.text()
    return topic, qos, cursor.take(2) if qos else b""


def read_subscribe(packet: Packet) -> tuple[bytes, list[str]]:
    """Return the packet id and the filters of a SUBSCRIBE.

    Raises:
        CodecError: not well formed, or without a filter.
    """
    cursor = _Cursor(packet.body)
    number, filters = cursor.take(2), []
    while not cursor.done:
        filters.append(cursor.text())
        if cursor.take(1)[0] > 2:
            raise CodecError("a subscription of QoS 3")
    if not filters:
        raise CodecError("SUBSCRIBE without a filter")
    return number, filters


def connack(code: int) -> bytes:
    """Return a CONNACK that refuses (MQTT 3.1.1, section 3.2)."""
    return bytes([CONNACK << 4, 2, 0, code])


CONNACK_5 = bytes([CONNACK << 4, 3, 0, 0x84, 0])
"""«Unsupported protocol version» for a client that speaks MQTT 5 (section 3.2.2.2), so that it does not wait."""


def puback(number: bytes) -> bytes:
    """Return the PUBACK of a packet id."""
    return bytes([PUBACK << 4, 2]) + number


def suback_refused(number: bytes, count: int) -> bytes:
    """Return a SUBACK that refuses `count` filters."""
    return bytes([SUBACK << 4, 2 + count]) + number + b"\x80" * count
