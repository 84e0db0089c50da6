"""The front door: identity is bound before a session is touched, and every packet is judged before amqtt sees it.

A refused publication is acknowledged and dropped, as brokers do; a refused subscription is refused in its SUBACK.
"""

import asyncio
import logging

from amqtt.adapters import ReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker

from accord.errors import CodecError
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker import packets
from broker.credentials import CredentialsFile
from broker.exchange import LISTENER
from broker.packets import Packet

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes: the link's largest payload and its topic
LARGEST_FIRST = 4_096  # bytes of a CONNECT
LOGIN = 10.0  # seconds in which a client must have logged in
LARGEST_KEEPALIVE = 300  # seconds
MOST_CONNECTIONS = 1_000
LOG = logging.getLogger("accord.broker")


async def read_packet(reader: asyncio.StreamReader, largest: int, *, first: int | None = None) -> Packet:
    """Read one frame, whose first byte must be `first` if that is given: noise is turned away at once.

    Raises:
        CodecError: its length is not well formed or too large.
        asyncio.IncompleteReadError: the connection ended.
    """
    head = await reader.readexactly(2)
    if first is not None and head[0] != first:
        raise CodecError("the first packet is not CONNECT")
    size, shift = head[1] & 0x7F, 7
    while head[-1] & 0x80:
        if shift > 21:
            raise CodecError("a length of more than four bytes")
        head += await reader.readexactly(1)
        size |= (head[-1] & 0x7F) << shift
        shift += 7
    if size > largest:
        raise CodecError(f"a packet of {size} bytes; at most {largest} are accepted")
    body = await reader.readexactly(size)
    return Packet(first=head[0], body=body, data=head + body)


class CheckedReader(ReaderAdapter):  # type: ignore[misc]
    """What amqtt reads of one client: its CONNECT, then every packet that the rules let through."""

    def __init__(
        self,
        tenant: str,
        connect: packets.Connect,
        first: Packet,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._tenant, self._client = tenant, connect.client
        self._reader, self._writer = streams
        keepalive = connect.keepalive or LARGEST_KEEPALIVE
        self._patience = 1.5 * min(keepalive, LARGEST_KEEPALIVE)  # MQTT 3.1.1, section 3.1.2.10
        self._buffer, self._at = first.data, 0
        self._ended = False

    async def read(self, n: int = -1) -> bytes:
        """Return exactly `n` bytes, or fewer at the end."""
        while len(self._buffer) - self._at < n and not self._ended:
            packet = await self._next()
            if packet is None:
                self._ended = True
            else:
                self._buffer, self._at = self._buffer[self._at :] + packet.data, 0
        part = self._buffer[self._at : self._at + n]
        self._at += len(part)
        return part

    def feed_eof(self) -> None:
        """End what amqtt reads."""
        self._ended = True

    async def _next(self) -> Packet | None:
        """Return the next packet that is allowed, or None once the client is gone or misbehaves."""
        while True:
            try:
                packet = await asyncio.wait_for(read_packet(self._reader, LARGEST_PACKET), self._patience)
                passed = self._judged(packet)
                if passed is not None:
                    return passed
            except CodecError as error:
                LOG.warning("%s is cut off: %s", self._client, error)
                self._writer.close()
                return None
            except (TimeoutError, asyncio.IncompleteReadError, OSError):
                return None

    def _judged(self, packet: Packet) -> Packet | None:
        """Return what amqtt may see of a packet; what it may not is answered here.

        Raises:
            CodecError: the client must go.
        """
        if packet.kind not in packets.ACCEPTED_TYPES:
            raise CodecError(f"a packet of type {packet.kind}")
        if packet.kind == packets.PUBLISH:
            topic, qos, number = packets.read_publish(packet)
            if topics.allowed(self._client, self._tenant, "publish", topic):
                return packet if topics.kept(topic) else packet.not_retained()
            LOG.warning("%s may not publish to %.120r", self._client, topic)
            if qos:
                self._writer.write(packets.puback(number))
            return None
        if packet.kind == packets.SUBSCRIBE:
            number, filters = packets.read_subscribe(packet)
            if all(topics.allowed(self._client, self._tenant, "subscribe", item) for item in filters):
                return packet
            LOG.warning("%s may not subscribe to %.120r", self._client, filters)
            self._writer.write(packets.suback_refused(number, len(filters)))
            return None
        return packet


class _Guest:
    """One connection that has logged in, and the task that serves it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer, self._task = writer, asyncio.current_task()
        self.left = asyncio.Event()

    async def sent_away(self) -> None:
        """End the connection and wait until its session is no longer in use.

        Raises:
            TimeoutError: it can't be ended.
        """
        self._writer.transport.abort()
        try:
            await asyncio.wait_for(self.left.wait(), LOGIN)
        except TimeoutError:
            if self._task is not None:
                self._task.cancel()
            await asyncio.wait_for(self.left.wait(), LOGIN)


class FrontDoor:
    """Lets clients in to one amqtt broker.

    Args:
        broker: with an external listener called `default`.
        tenant: whose topics it carries.
        credentials: who may log in; a client's user name is its client id.
    """

    def __init__(self, broker: Broker, tenant: str, credentials: CredentialsFile) -> None:
        self._broker, self._tenant, self._credentials = broker, tenant, credentials
        self._guests: dict[str, _Guest] = {}
        self._count = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        if self._count >= MOST_CONNECTIONS:
            writer.close()
            return
        self._count += 1
        try:
            await self._serve(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass
        except CodecError as error:
            LOG.warning("%s is turned away: %s", writer.get_extra_info("peername"), error)
        finally:
            self._count -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await asyncio.wait_for(read_packet(reader, LARGEST_FIRST, first=packets.CONNECT << 4), LOGIN)
        connect = packets.read_connect(first)
        refusal = self._refusal(connect)
        if refusal is not None:
            writer.write(refusal)
            await writer.drain()
            return
        guest, before = _Guest(writer), self._guests.get(connect.client)
        self._guests[connect.client] = guest
        try:
            if before is not None:  # take-over: the old connection ends before the new one touches the session
                await before.sent_away()
            checked = CheckedReader(self._tenant, connect, first, (reader, writer))
            await self._broker.external_connected(checked, StreamWriterAdapter(writer), LISTENER)
        finally:
            guest.left.set()
            if self._guests.get(connect.client) is guest:
                del self._guests[connect.client]

    def _refusal(self, connect: packets.Connect) -> bytes | None:
        if connect.level != 4:
            return packets.CONNACK_5 if connect.level == 5 else packets.connack(packets.REFUSED_VERSION)
        if not self._credentials.check(connect.username, connect.password):
            LOG.warning("a login as %.80r with a wrong password", connect.username)
            return packets.connack(packets.REFUSED_PASSWORD)
        if connect.username != connect.client:
            LOG.warning("%s poses as %.80r", connect.username, connect.client)
            return packets.connack(packets.REFUSED_CLIENT)
        if connect.will_topic and not topics.allowed(connect.client, self._tenant, "publish", connect.will_topic):
            LOG.warning("%s brings a will for %.120r", connect.client, connect.will_topic)
            return packets.connack(packets.REFUSED_CLIENT)
        return None
