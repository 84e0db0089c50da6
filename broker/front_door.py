"""The front door: identity is bound before a session is touched, and every packet is judged before amqtt sees it.

A refused publication is acknowledged and dropped, as brokers do; a refused subscription is refused in its SUBACK.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable

from amqtt.adapters import ReaderAdapter
from amqtt.broker import Broker

from accord.errors import CodecError
from accord.link.port import LARGEST_PAYLOAD
from accord.wire import topics
from broker import packets
from broker.credentials import CredentialsFile
from broker.exchange import LISTENER
from broker.packets import Packet
from broker.wire import Wire

LARGEST_PACKET = LARGEST_PAYLOAD + 1_024  # bytes: the link's largest payload and its topic
LARGEST_FIRST = 4_096  # bytes of a CONNECT
LOGIN = 10.0  # seconds in which a client must have logged in
LARGEST_KEEPALIVE = 300  # seconds
MOST_CONNECTIONS = 1_000
LOG = logging.getLogger("accord.broker")


async def read_packet(wire: Wire, largest: int, *, first: int | None = None) -> Packet:
    """Read one frame, whose first byte must be `first` if that is given: noise is turned away at once.

    Raises:
        CodecError: its length is not well formed or too large.
        asyncio.IncompleteReadError: the connection ended.
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
    body = await wire.readexactly(size)
    return Packet(first=head[0], body=body, data=head + body)


class CheckedReader(ReaderAdapter):  # type: ignore[misc]
    """What amqtt reads of one client: its CONNECT, then every packet that the rules let through."""

    def __init__(
        self,
        tenant: str,
        connect: packets.Connect,
        first: Packet,
        wire: Wire,
    ) -> None:
        self._tenant, self._client = tenant, connect.client
        self._wire = wire
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
                packet = await asyncio.wait_for(read_packet(self._wire, LARGEST_PACKET), self._patience)
                passed = self._judged(packet)
                if passed is not None:
                    return passed
            except CodecError as error:
                LOG.warning("%s is cut off: %s", self._client, error)
                self._wire.abort()
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
                self._wire.write(packets.puback(number))
            return None
        if packet.kind == packets.SUBSCRIBE:
            number, filters = packets.read_subscribe(packet)
            if all(topics.allowed(self._client, self._tenant, "subscribe", item) for item in filters):
                return packet
            LOG.warning("%s may not subscribe to %.120r", self._client, filters)
            self._wire.write(packets.suback_refused(number, len(filters)))
            return None
        return packet


class _Guest:
    """One connection that has logged in, and the task that serves it."""

    def __init__(self, wire: Wire) -> None:
        self._wire, self._task = wire, asyncio.current_task()
        self.left = asyncio.Event()

    async def sent_away(self) -> None:
        """End the connection and wait until its session is no longer in use.

        Raises:
            TimeoutError: it can't be ended.
        """
        self._wire.abort()
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
        self.login, self.largest_packet = LOGIN, LARGEST_PACKET
        self._broker, self._tenant, self._credentials = broker, tenant, credentials
        self._guests: dict[str, _Guest] = {}
        self._count = 0

    async def connected(self, address: str, secured: Callable[[], Awaitable[Wire]], abort: Callable[[], None]) -> None:
        """Serve one connection until it ends; see `broker.listeners`."""
        if self._count >= MOST_CONNECTIONS:
            abort()
            return
        self._count += 1
        try:
            await self._serve(secured)
        except CodecError as error:
            LOG.warning("%s is turned away: %s", address, error)
        except ssl.SSLError as error:
            LOG.warning("%s is turned away: TLS failed: %s", address, error.reason or error)
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._count -= 1

    async def _serve(self, secured: Callable[[], Awaitable[Wire]]) -> None:
        async with asyncio.timeout(self.login):
            wire = await secured()
            try:
                first = await read_packet(wire, LARGEST_FIRST, first=packets.CONNECT << 4)
            except BaseException:
                await wire.close()
                raise
        try:
            connect = packets.read_connect(first)
            refusal = self._refusal(connect, wire.name)
            if refusal is None:
                await self._admit(connect, first, wire)
            else:
                wire.write(refusal)
        finally:
            await wire.close()

    async def _admit(self, connect: packets.Connect, first: Packet, wire: Wire) -> None:
        guest, before = _Guest(wire), self._guests.get(connect.client)
        self._guests[connect.client] = guest
        try:
            if before is not None:  # take-over: the old connection ends before the new one touches the session
                await before.sent_away()
            checked = CheckedReader(self._tenant, connect, first, wire)
            await self._broker.external_connected(checked, wire, LISTENER)
        finally:
            guest.left.set()
            if self._guests.get(connect.client) is guest:
                del self._guests[connect.client]

    def _refusal(self, connect: packets.Connect, name: str | None) -> bytes | None:
        """Return the CONNACK that refuses a login, or None.

        Args:
            connect: what the client says.
            name: the common name of its certificate, where one is required.
        """
        if connect.level != 4:
            return packets.CONNACK_5 if connect.level == 5 else packets.connack(packets.REFUSED_VERSION)
        who = connect.username if name is None else name
        if name is not None and connect.username not in (None, name):
            LOG.warning("the certificate of %.80r is shown by %.80r", name, connect.username)
            return packets.connack(packets.REFUSED_CLIENT)
        # Where a certificate is required it is proof enough; who sends a password too must have the right one.
        known, now = self._credentials.known(), time.time()
        if name is not None and connect.password is None:
            entry = known.certified(name, now)
        else:
            entry = known.check(who or "", connect.password or b"", now)
        if entry is None:
            LOG.warning("a login as %.80r that is not known or has a wrong password", who)
            return packets.connack(packets.REFUSED_PASSWORD)
        if who != connect.client:
            LOG.warning("%s poses as %.80r", who, connect.client)
            return packets.connack(packets.REFUSED_CLIENT)
        if connect.will_topic and not topics.allowed(connect.client, self._tenant, "publish", connect.will_topic):
            LOG.warning("%s brings a will for %.120r", connect.client, connect.will_topic)
            return packets.connack(packets.REFUSED_CLIENT)
        return None
