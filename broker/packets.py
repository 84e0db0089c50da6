"""What the front door must read of MQTT 3.1.1: frames, CONNECT, topics and filters. Nothing is trusted."""

from dataclasses import dataclass, field

from accord.errors import CodecError

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE = 1, 2, 3, 4, 8, 9, 10
PINGREQ, PINGRESP, DISCONNECT = b"\xc0\x00", b"\xd0\x00", b"\xe0\x00"
REFUSED_VERSION, REFUSED_FULL, REFUSED_PASSWORD, REFUSED_CLIENT = 1, 3, 4, 5


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One frame: its first byte, all before its body, and its body."""

    first: int
    head: bytes
    body: bytes = field(repr=False)

    @property
    def data(self) -> bytes:
        """All of its bytes."""
        return self.head + self.body

    @property
    def kind(self) -> int:
        """The control packet type (MQTT 3.1.1, section 2.2.1)."""
        return self.first >> 4

    @property
    def retained(self) -> bool:
        """Whether a PUBLISH is to be kept (section 3.3.1.3)."""
        return bool(self.first & 1)


@dataclass(frozen=True, kw_only=True)
class Connect:
    """What a CONNECT says (MQTT 3.1.1, section 3.1); the password does not show."""

    level: int
    client: str
    username: str | None
    password: bytes | None = field(repr=False)
    keepalive: int
    clean: bool
    will_topic: str
    will_retain: bool


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
        return Connect(
            level=level,
            client="",
            username=None,
            password=None,
            keepalive=0,
            clean=True,
            will_topic="",
            will_retain=False,
        )
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
        level=level,
        client=client,
        username=username,
        password=password,
        keepalive=keepalive,
        clean=bool(flags & 2),
        will_topic=will_topic,
        will_retain=bool(flags & 0x20),
    )


def read_publish(packet: Packet) -> tuple[str, int, bytes, memoryview]:
    """Return the topic, the QoS, the packet id (2 bytes, none at QoS 0) and the payload of a PUBLISH.

    Raises:
        CodecError: not well formed, or QoS 2.
    """
    qos, body = packet.first >> 1 & 3, packet.body
    if qos > 1:
        raise CodecError("QoS 2 is not spoken here")
    at = 2 + int.from_bytes(body[:2], "big")
    end = at + 2 * qos
    number = body[at:end]
    if len(body) < end or number == b"\0\0" or (not qos and packet.first & 8):
        raise CodecError("a PUBLISH that is not well formed")
    try:
        return body[2:at].decode(), qos, number, memoryview(body)[end:]
    except UnicodeDecodeError as error:
        raise CodecError("a topic is not UTF-8") from error


def publish_head(topic: bytes, size: int, qos: int, number: int, *, again: bool, retained: bool) -> bytes:
    """Return what stands before the `size` bytes of the payload in a PUBLISH (section 3.3).

    Args:
        topic: in UTF-8.
        size: of the payload, in bytes.
        qos: 0 or 1.
        number: the packet id, used at QoS 1.
        again: whether it was sent before.
        retained: whether it was kept from before the subscription.
    """
    rest = len(topic).to_bytes(2, "big") + topic + (number.to_bytes(2, "big") if qos else b"")
    return bytes([PUBLISH << 4 | again << 3 | qos << 1 | retained]) + _length(len(rest) + size) + rest


def _length(size: int) -> bytes:
    """Return a remaining length (section 2.2.3)."""
    length = bytearray()
    while True:
        size, low = divmod(size, 128)
        length.append(low | 0x80 if size else low)
        if not size:
            return bytes(length)


def read_puback(packet: Packet) -> int:
    """Return the packet id of a PUBACK.

    Raises:
        CodecError: not well formed.
    """
    if packet.first != PUBACK << 4 or len(packet.body) != 2:
        raise CodecError("a PUBACK that is not well formed")
    return int.from_bytes(packet.body, "big")


def read_subscribe(packet: Packet, most: int) -> tuple[bytes, list[str]]:
    """Return the packet id and the filters of a SUBSCRIBE.

    Raises:
        CodecError: not well formed, without a filter, or with more than `most` of them.
    """
    number, cursor, filters = _numbered(packet, SUBSCRIBE << 4 | 2), _Cursor(packet.body[2:]), list[str]()
    while not cursor.done:
        filters.append(_one_more(cursor, filters, most))
        if cursor.take(1)[0] > 2:
            raise CodecError("a subscription of QoS 3")
    if not filters:
        raise CodecError("SUBSCRIBE without a filter")
    return number, filters


def read_unsubscribe(packet: Packet, most: int) -> list[str]:
    """Return the filters of an UNSUBSCRIBE.

    Raises:
        CodecError: not well formed, without a filter, or with more than `most` of them.
    """
    _numbered(packet, UNSUBSCRIBE << 4 | 2)
    cursor, filters = _Cursor(packet.body[2:]), list[str]()
    while not cursor.done:
        filters.append(_one_more(cursor, filters, most))
    if not filters:
        raise CodecError("UNSUBSCRIBE without a filter")
    return filters


def _one_more(cursor: _Cursor, before: list[str], most: int) -> str:
    """Return the next filter: a quarter of a million fit into a packet, and nobody else has a turn while they are read.

    Raises:
        CodecError: there are too many.
    """
    if len(before) >= most:
        raise CodecError(f"more than {most} filters in one packet")
    return cursor.text()


def _numbered(packet: Packet, first: int) -> bytes:
    """Return the packet id with which a body begins.

    Raises:
        CodecError: there is none, or the first byte is not `first`.
    """
    number = packet.body[:2]
    if packet.first != first or len(number) < 2 or number == b"\0\0":
        raise CodecError("flags or a packet id that may not be")
    return number


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
    return bytes([SUBACK << 4]) + _length(2 + count) + number + b"\x80" * count
