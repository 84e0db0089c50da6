"""paho's client as a link uses it: writes in one thread, bounded packets, a tunnel, the properties of MQTT 5."""

import logging
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from accord.link.abilities import NEW, Abilities
from accord.link.address import Address
from accord.link.places import Place
from accord.link.port import LARGEST_PAYLOAD, Will
from accord.link.tls import PinnedContext, context_of
from accord.link.tunnel import through

IN_FLIGHT = 16
"""Unacknowledged messages: brokers advertise 20 and drop clients that pass it."""
QUEUED = 1_000
"""Messages that wait for the connection."""
LARGEST_PACKET = LARGEST_PAYLOAD + 1_024
"""Bytes that are taken in one packet: a broker is not trusted with our memory."""
SESSION = 300
"""Seconds that a broker with MQTT 5 shall keep what comes while we are away."""
EXPIRY = 3_600
"""Seconds after which a broker with MQTT 5 need not deliver a message any more: whoever needs it asks again."""
LOG = logging.getLogger("accord.link")


class Meter(Protocol):
    """Whoever counts bytes of MQTT where they go into the socket; what TLS, WebSockets and TCP add is not in them."""

    bytes_up: int
    bytes_down: int


class PahoClient(paho.Client):
    """One login at one broker, by one version of MQTT; where `acknowledges`, its owner calls `ack`.

    Args:
        address: of the broker.
        version: `OLD` or `NEW`.
        known: what the broker is known to be able to do, if it is.
        will: what the broker publishes if we go without a word.
        timeout: seconds to connect.
        meter: counts what goes through the socket.
        settled: whether the broker keeps what we have not acknowledged, and we do that ourselves, with MQTT 3.1.1, too.
    """

    def __init__(
        self,
        address: Address,
        version: int,
        *,
        known: Abilities | None,
        will: Will | None,
        timeout: float,
        meter: Meter,
        settled: bool = False,
    ) -> None:
        self.version, self.acknowledges = version, settled or version == NEW
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=address.session_id,
            protocol=MQTTProtocolVersion(version),
            transport="websockets" if address.websocket else "tcp",
            clean_session=None if version == NEW else not settled,
            manual_ack=self.acknowledges,
        )
        self._address, self._meter = address, meter
        self._unacknowledged: deque[paho.MQTTMessageInfo] = deque()
        self._sending = threading.Lock()
        self.username_pw_set(address.client_id, address.password)
        offered = known.in_flight if known is not None else 0
        self.max_inflight_messages_set(min(IN_FLIGHT, offered or IN_FLIGHT))
        self.max_queued_messages_set(QUEUED)
        self.connect_timeout = timeout
        self._tls = None if address.tls is None else context_of(address.tls)
        if self._tls is not None:
            self.tls_set_context(self._tls)
        if address.websocket:
            self.ws_set_options(path=address.websocket)
        if will is not None:
            self.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        # With this set, paho leaves all writing to `loop`. Without it `publish` writes too, in its caller's thread, and
        # two threads that write parts of packets garble the stream.
        self.on_socket_register_write = lambda *_: None

    @property
    def objection(self) -> ssl.SSLError | None:
        """What the broker's TLS had against us."""
        return self._tls.objection if isinstance(self._tls, PinnedContext) else None

    def begin(self, place: Place, keepalive: int) -> None:
        """Connect to one of the broker's places and send the login.

        Raises:
            OSError: nobody answers, or TLS fails.
        """
        if self.version != NEW:
            self.connect_async(*place, keepalive)
        else:
            asked = _properties(PacketTypes.CONNECT)
            asked.SessionExpiryInterval = SESSION
            asked.ReceiveMaximum = IN_FLIGHT
            asked.MaximumPacketSize = LARGEST_PACKET
            self.connect_async(*place, keepalive, clean_start=False, properties=asked)
        self.reconnect()

    def send(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> bool:
        """Queue a message, and return whether there was room for it.

        Raises:
            ValueError: nobody can publish to this topic.
        """
        limits = None
        if self.version == NEW and not retain:
            limits = _properties(PacketTypes.PUBLISH)
            limits.MessageExpiryInterval = EXPIRY
        sent = self.publish(topic, payload, qos=qos, retain=retain, properties=limits)
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return False
        if qos:
            # Without a connection paho says NO_CONN, but keeps the message and sends it later.
            sent.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
            with self._sending:
                self._unacknowledged.append(sent)
                if len(self._unacknowledged) > 2 * QUEUED:  # paho itself keeps no more than `QUEUED`
                    self._unacknowledged = deque(one for one in self._unacknowledged if not one.is_published())
        return True

    def finish(self, seconds: float, stands: Callable[[], bool]) -> None:
        """Wait until the broker has all that was sent at QoS 1, at most so long and while the connection stands."""
        until = time.monotonic() + seconds
        while self._unacknowledged and stands() and time.monotonic() < until:
            self._unacknowledged[0].wait_for_publish(0.1)
            if self._unacknowledged[0].is_published():
                self._unacknowledged.popleft()

    def works(self, patience: float = 1.0) -> bool:
        """Read and write once, and return whether the connection still stands; no error gets out of here."""
        try:
            code = self.loop(patience)
        except Exception:  # whatever it was, the caller's thread must live; paho is in no known state
            LOG.exception("the connection of %s is dropped and made again", self._address.client_id)
            self.drop()
            return False
        # paho has no limits of its own. A frame of a WebSocket it keeps until that ends, which may be never.
        held = len(getattr(self.socket(), "_readbuffer", b""))
        if self._in_packet["remaining_length"] > LARGEST_PACKET or held > 2 * LARGEST_PACKET:
            LOG.warning("the broker sends %s a packet that is too large", self._address.client_id)
            self.drop()
            return False
        return code == MQTTErrorCode.MQTT_ERR_SUCCESS

    def drop(self) -> None:
        """Close the socket as it is."""
        found = self.socket()
        if found is not None:
            found.close()

    def release(self) -> None:
        """Close the socket, and the pair by which paho wakes its loop and which it leaves to the garbage collector."""
        self._reset_sockets()

    def _sock_recv(self, bufsize: int) -> bytes:
        found: bytes = super()._sock_recv(bufsize)
        self._meter.bytes_down += len(found)
        return found

    def _sock_send(self, buf: bytes | bytearray) -> int:
        sent: int = super()._sock_send(buf)
        self._meter.bytes_up += sent
        return sent

    def _create_socket_connection(self) -> socket.socket:
        # paho's own way through a proxy needs PySocks, which nobody maintains.
        proxy = self._address.proxy
        if proxy is None:
            found: socket.socket = super()._create_socket_connection()
            return found
        return through(proxy, self.host, self.port, self.connect_timeout)


def _properties(kind: int) -> Properties:
    found: Properties = Properties(kind)  # type: ignore[no-untyped-call]
    return found
