"""What one client says after it was let in: every packet is judged here, letters go on their way, amqtt sees the rest.

A refused publication is acknowledged and dropped, as brokers do; a refused subscription is refused in its SUBACK.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from amqtt.adapters import ReaderAdapter

from accord.errors import CodecError
from accord.wire import topics
from broker import packets
from broker.attempts import Attempts
from broker.config import Limits
from broker.exchange import Exchange
from broker.outbox import Outbox
from broker.packets import Packet
from broker.wire import HIGH, Wire

AT_ONCE = 64  # packets of one client that are taken before others have their turn
MOST_FILTERS = 100  # in one packet, where a client may hold fewer: those beyond are refused one by one
SLICE = 0.5  # seconds between looks at a connection that is made to wait
REPLIES = 1 << 16  # bytes of answers that may wait above what letters may take


async def read_packet(wire: Wire, largest: int, *, first: int | None = None) -> Packet:
    """Read one frame, whose first byte must be `first` if that is given: noise is turned away at once.

    Raises:
        CodecError: its length is not well formed or too large.
        asyncio.IncompleteReadError: the connection ended.
        OSError: it broke.
    """
    head = await wire.readexactly(2)
    if first is not None and head[0] != first:
        raise CodecError("the first packet is not CONNECT")
    size, shift = head[1] & 0x7F, 7
    while head[-1] & 0x80:
        if shift > 21:
            raise CodecError("a length of more than four bytes")
        head += await wire.readexactly(1)
        size |= (head[-1] & 0x7F) << shift
        shift += 7
    if size > largest:
        raise CodecError(f"a packet of {size} bytes; at most {largest} are accepted")
    return Packet(first=head[0], head=head, body=await wire.readexactly(size) if size else b"")


class Gate(ReaderAdapter):  # type: ignore[misc]
    """What amqtt reads of one client: its CONNECT, subscriptions and goodbye.

    Args:
        tenant: whose topics the broker carries.
        connect: what the client said.
        first: the packet in which it said so.
        wire: its connection.
        exchange: where letters go.
        limits: of packets and silence.
        attempts: where refusals are noted.
    """

    def __init__(
        self,
        tenant: str,
        connect: packets.Connect,
        first: Packet,
        wire: Wire,
        *,
        exchange: Exchange,
        limits: Limits,
        attempts: Attempts,
    ) -> None:
        self.connect = connect
        self._tenant, self._client, self._wire = tenant, connect.client, wire
        self._exchange, self._limits, self._attempts = exchange, limits, attempts
        self._most_filters = max(limits.filters, MOST_FILTERS)
        self._buffer, self._at = first.data, 0
        self._ended = False
        self._answered = asyncio.Event()
        self._answered.set()
        self._loop = asyncio.get_running_loop()
        self._heard, self._waits = self._loop.time(), False
        keepalive = connect.keepalive or limits.keepalive
        self._patience = 1.5 * min(keepalive, limits.keepalive)  # MQTT 3.1.1, section 3.1.2.10
        self._watch = self._loop.call_later(self._patience, self._look)

    async def read(self, n: int = -1) -> bytes:
        """Return exactly `n` bytes, or fewer at the end."""
        while len(self._buffer) - self._at < n and not self._ended:
            packet = await self._next()
            if packet is None:
                self._ended = True
                self._watch.cancel()
            else:
                self._buffer, self._at = self._buffer[self._at :] + packet.data, 0
        part = self._buffer[self._at : self._at + n]
        self._at += len(part)
        return part

    def feed_eof(self) -> None:
        """End what amqtt reads."""
        self._ended = True

    @property
    def over(self) -> bool:
        """Whether the client is gone."""
        return self._ended

    def answered(self) -> None:
        """Go on: the last subscription was answered."""
        self._answered.set()

    def close(self) -> None:
        """Stop watching for silence."""
        self._watch.cancel()

    def _look(self) -> None:
        """Cut a client that was silent for too long, so that its will is published; else look again later."""
        if self._waits:  # by our will: it is not heard meanwhile
            self._heard = self._loop.time()
        left = self._heard + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
        else:
            self._attempts.note("silent", "%s said nothing for %.0f s and is cut off", self._client, self._patience)
            self._wire.abort()

    async def _next(self) -> Packet | None:
        """Return the next packet for amqtt, or None once the client is gone or misbehaves."""
        try:
            await self._answered.wait()  # one subscription at a time: amqtt would queue any number of them
            taken = 0
            while True:
                packet = await read_packet(self._wire, self._limits.packet)
                self._heard = self._loop.time()
                if await self._for_amqtt(packet):
                    return packet
                taken += 1
                if taken % AT_ONCE == 0:
                    await asyncio.sleep(0)
                if self._wire.buffered > HIGH + self._limits.packet + REPLIES:
                    await self._wire.drain()  # who does not read its answers is not heard
        except CodecError as error:
            self._attempts.note("malformed", "%s at %s is cut off: %s", self._client, self._wire.address, error)
            self._wire.abort()
        except (asyncio.IncompleteReadError, OSError):
            pass
        return None

    async def _for_amqtt(self, packet: Packet) -> bool:
        """Judge a packet, do what it asks for, and return whether that is for amqtt to do.

        Raises:
            CodecError: the client must go.
        """
        kind = packet.kind
        if kind == packets.PUBLISH:
            await self._publish(packet)
        elif kind == packets.PUBACK:
            box = self._exchange.outboxes.get(self._client)
            if box is not None and box.wire is self._wire:
                box.acknowledged(packets.read_puback(packet))
        elif packet.head == packets.PINGREQ:
            self._wire.write(packets.PINGRESP)
        elif kind == packets.SUBSCRIBE:
            return await self._subscribe(packet)
        elif kind == packets.UNSUBSCRIBE:
            packets.read_unsubscribe(packet, self._most_filters)
            self._answered.clear()
            return True
        elif packet.head == packets.DISCONNECT:
            self._exchange.goodbye(self._client)
            return True
        else:
            raise CodecError(f"a packet that begins with {packet.head.hex()}")
        return False

    async def _publish(self, packet: Packet) -> None:
        topic, qos, number, payload = packets.read_publish(packet)
        crowded: list[Outbox] = []
        if topics.allowed(self._client, self._tenant, "publish", topic):
            retain = packet.retained and topics.kept(topic)
            if qos and self._exchange.tight:
                with self._made_to_wait():
                    await self._exchange.room(self._client, topic, len(payload))
            crowded = self._exchange.publish(self._client, topic, payload, qos, retain=retain)
        else:
            self._attempts.note("publish", "%s may not publish to %.120r", self._client, topic)
        if qos:
            self._wire.write(packets.puback(number))
        if crowded:
            with self._made_to_wait():
                for box in crowded:
                    await box.room(self._client)

    @contextlib.contextmanager
    def _made_to_wait(self) -> Iterator[None]:
        """Take nothing that a client says, for a while: its silence is ours."""
        self._waits = True
        try:
            yield
        finally:
            self._waits, self._heard = False, self._loop.time()

    async def _subscribe(self, packet: Packet) -> bool:
        number, filters = packets.read_subscribe(packet, self._most_filters)
        refused = [item for item in filters if not topics.allowed(self._client, self._tenant, "subscribe", item)]
        if not refused:
            await self._allowed()
            self._answered.clear()
            return True
        self._attempts.note("subscribe", "%s may not subscribe to %.120r", self._client, refused)
        self._wire.write(packets.suback_refused(number, len(filters)))
        return False

    async def _allowed(self) -> None:
        """Wait while the client has been sent so much for its subscriptions that it may not subscribe yet.

        Raises:
            ConnectionResetError: its connection has ended meanwhile.
        """
        if not self._exchange.patience(self._client):
            return
        self._attempts.note("subscribe", "%s subscribes to retained letters too often, and must wait", self._client)
        with self._made_to_wait():
            while (left := self._exchange.patience(self._client)) > 0:
                await asyncio.sleep(min(left, SLICE))
                if self._wire.ended:
                    raise ConnectionResetError
