"""A link over MQTT 3.1.1 with paho: guarded callbacks, a bounded hand-off, and reconnects of our own.

paho's thread only puts deliveries into a queue; whoever owns the link reads them. An exception in a callback would kill
that thread while it still says connected, so none leaves one.
"""

import contextlib
import queue
import ssl
import threading
import time
from dataclasses import dataclass, field

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.link.port import Delivery, LinkError, Will

IN_FLIGHT = 16
"""Unacknowledged messages: brokers advertise 20 and drop clients that pass it."""
QUEUED = 1_000
"""Messages that wait for the connection."""
DELIVERED = 10_000
"""Deliveries that wait for the owner; more are dropped, as a broker would."""
LARGEST = 1 << 20
"""Bytes in one payload; larger objects go in pieces."""
FIRST_DELAY, LARGEST_DELAY = 0.2, 20.0
"""Seconds between attempts to connect: full jitter between nothing and a bound that doubles."""

_REFUSED = {
    "Bad user name or password": "the broker refused the password: look at the password file and the broker's clients",
    "Not authorized": "the broker does not know this client id or its password is another's: was it enrolled there?",
    "Unsupported protocol version": "the broker does not speak MQTT 3.1.1",
    "Client identifier not valid": "the broker refused the client id",
}


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a broker listens and who we are there; the password never shows."""

    host: str
    port: int
    client_id: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 1 to 65535")


class MqttLink:
    """One client's connection, which comes back by itself; see the port `Link`.

    Args:
        address: of the broker.
        entropy: the jitter of reconnects.
        will: what the broker publishes if we go without a word.
        keepalive: seconds after which a silent connection counts as dead.
        connect_timeout: seconds for the first connection.

    Raises:
        LinkError: the broker can't be reached or refuses us.
    """

    def __init__(
        self,
        address: Address,
        *,
        entropy: Entropy,
        will: Will | None = None,
        keepalive: int = 30,
        connect_timeout: float = 10.0,
    ) -> None:
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.lost = 0
        self._address, self._entropy = address, entropy
        self._deliveries: queue.Queue[Delivery] = queue.Queue(DELIVERED)
        self._filters: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._up = threading.Event()
        self._answered = threading.Event()
        self._refusal = ""
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=address.client_id, protocol=paho.MQTTv311)
        client.username_pw_set(address.client_id, address.password)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.max_queued_messages_set(QUEUED)
        client.connect_timeout = connect_timeout
        if address.tls is not None:
            client.tls_set_context(address.tls)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client
        self._keepalive = keepalive
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{address.client_id}", daemon=True)
        self._connect(connect_timeout)

    def __repr__(self) -> str:
        return f"MqttLink({self._address!r})"

    @property
    def connected(self) -> bool:
        """Whether messages go through now."""
        return self._up.is_set()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hand a message to paho; at QoS 1 it is kept until the broker has it, also over a reconnect.

        Raises:
            LinkError: the payload is too large, too many messages wait, or the link was closed.
        """
        if len(payload) > LARGEST:
            raise LinkError(f"a payload of {len(payload)} bytes: send it in pieces, {LARGEST} is the largest")
        if self._closed.is_set():
            raise LinkError(f"the link of {self._address.client_id} is closed")
        # NO_CONN is not an error for QoS 1: paho keeps the message and sends it after the reconnect.
        if self._client.publish(topic, payload, qos=qos, retain=retain).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise LinkError(f"{QUEUED} messages wait for the connection to the broker")
        with self._lock:
            self.bytes_up += len(topic) + len(payload)

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe now and after every reconnect."""
        with self._lock:
            self._filters[topic_filter] = qos
        if self.connected:
            self._client.subscribe(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription away."""
        with self._lock:
            self._filters.pop(topic_filter, None)
        if self.connected:
            self._client.unsubscribe(topic_filter)

    def receive(self, timeout: float) -> Delivery | None:
        """Return the next delivery, or None after `timeout` seconds."""
        try:
            return self._deliveries.get(timeout=timeout) if timeout > 0 else self._deliveries.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Leave in an orderly way after what was published has gone out (at most 5 s); no will is published."""
        if self._closed.is_set():
            return
        until = time.monotonic() + 5
        while self.connected and self._client.want_write() and time.monotonic() < until:
            self._closed.wait(0.01)
        self._closed.set()
        self._client.disconnect()
        self._thread.join(10)

    def _connect(self, timeout: float) -> None:
        address = self._address
        try:
            self._client.connect(address.host, address.port, self._keepalive)
        except OSError as error:
            raise LinkError(
                f"no broker at {address.host}:{address.port} ({error}): is it running, and is the port right?",
            ) from error
        self._thread.start()
        if not self._answered.wait(timeout) or self._refusal:
            self._closed.set()
            self._client.disconnect()
            raise LinkError(self._refusal or f"the broker at {address.host}:{address.port} did not answer the login")

    def _run(self) -> None:
        """Drive paho until closed, and reconnect with full jitter."""
        delay = FIRST_DELAY
        while not self._closed.is_set():
            code = MQTTErrorCode.MQTT_ERR_SUCCESS
            while code == MQTTErrorCode.MQTT_ERR_SUCCESS:
                code = self._client.loop(1.0)
                if self._up.is_set():
                    delay = FIRST_DELAY
                if self._closed.is_set() and not self._client.want_write():
                    return
            self._up.clear()
            while not self._closed.is_set():
                share = int.from_bytes(self._entropy(4), "little") / 2**32
                if self._closed.wait(share * delay):
                    return
                delay = min(LARGEST_DELAY, delay * 2)
                with contextlib.suppress(OSError):
                    self._client.reconnect()
                    break

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason != ReasonCode(PacketTypes.CONNACK, "Success"):
            name = str(reason)
            self._refusal = _REFUSED.get(name, f"the broker refused the connection: {name}")
            self._answered.set()
            return
        with self._lock:
            self.connections += 1
            filters = dict(self._filters)
        for topic_filter, qos in filters.items():
            client.subscribe(topic_filter, qos)
        self._up.set()
        self._answered.set()

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, _flags: object, _reason: object, _properties: object
    ) -> None:
        self._up.clear()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic, payload = message.topic, bytes(message.payload)
        except UnicodeDecodeError:  # a topic that is not UTF-8 is nobody's
            return
        try:
            self._deliveries.put_nowait(Delivery(topic=topic, payload=payload, retained=message.retain))
        except queue.Full:
            self.lost += 1
            return
        with self._lock:
            self.bytes_down += len(topic) + len(payload)
