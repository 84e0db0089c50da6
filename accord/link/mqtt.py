"""A link over MQTT 3.1.1 with paho: one thread at the socket, a bounded hand-off, and reconnects of our own.

The link's thread alone reads and writes the socket, and fills an inbox that whoever owns the link empties. An exception
in a callback would end that thread while paho still says connected: here it costs the connection, which comes back.
"""

import logging
import threading
import time
from collections import deque

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from accord.entropy import Entropy
from accord.link.address import Address
from accord.link.inbox import MOST_BYTES, Inbox
from accord.link.places import Places
from accord.link.port import (
    LARGEST_PAYLOAD,
    ClosedError,
    Delivery,
    FullError,
    LinkError,
    RefusedError,
    UnreachableError,
    Will,
    checked_qos,
)
from accord.wire import topics

IN_FLIGHT = 16
"""Unacknowledged messages: brokers advertise 20 and drop clients that pass it."""
QUEUED = 1_000
"""Messages that wait for the connection."""
LARGEST_PACKET = LARGEST_PAYLOAD + 1_024
"""Bytes that are taken in one packet: a broker is not trusted with our memory."""
FIRST_DELAY, LARGEST_DELAY = 0.2, 20.0
"""Seconds between attempts to connect: full jitter between nothing and a bound that doubles."""
GOODBYE = 5.0
"""Seconds in which `close` gets out what was published."""
LOG = logging.getLogger("accord.link")

_REFUSED = {
    "Bad user name or password": "the broker refused the password: look at the password file and the broker's clients",
    "Not authorized": "the broker does not know this client id or its password is another's: was it enrolled there?",
    "Unsupported protocol version": "the broker does not speak MQTT 3.1.1",
    "Client identifier not valid": "the broker refused the client id",
}


class MqttLink:
    """One client's connection, which comes back by itself; see the port `Link`.

    Args:
        address: of the broker.
        entropy: the jitter of reconnects.
        will: what the broker publishes if we go without a word.
        keepalive: seconds after which a silent connection counts as dead.
        connect_timeout: seconds for the first connection.
        inbox_bytes: bytes of deliveries that may wait for the owner.

    Raises:
        UnreachableError: no broker answers there.
        RefusedError: the broker refuses us.
    """

    def __init__(
        self,
        address: Address,
        *,
        entropy: Entropy,
        will: Will | None = None,
        keepalive: int = 30,
        connect_timeout: float = 10.0,
        inbox_bytes: int = MOST_BYTES,
    ) -> None:
        self.connections = 0
        self.bytes_up = 0
        self.bytes_down = 0
        self.refusal = ""
        """Why the broker refused the last login; empty while it lets us in."""
        self._address, self._entropy, self._keepalive = address, entropy, keepalive
        self._places = Places(address.nodes, entropy)
        self._inbox = Inbox(most_bytes=inbox_bytes)
        self._filters: dict[str, int] = {}
        self._unacknowledged: deque[paho.MQTTMessageInfo] = deque()
        self._change = threading.Condition()
        self._up = self._answered = False
        self._closed = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=address.session_id, protocol=paho.MQTTv311)
        client.username_pw_set(address.client_id, address.password)
        client.max_inflight_messages_set(IN_FLIGHT)
        client.max_queued_messages_set(QUEUED)
        client.connect_timeout = connect_timeout
        if address.tls is not None:
            client.tls_set_context(address.tls)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        # With this set, paho leaves all writing to `loop`. Without it `publish` writes too, in its caller's thread, and
        # two threads that write parts of packets garble the stream.
        client.on_socket_register_write = lambda *_: None
        self._client = client
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{address.client_id}", daemon=True)
        self._connect(connect_timeout)

    def __repr__(self) -> str:
        return f"MqttLink({self._address!r})"

    @property
    def connected(self) -> bool:
        """Whether messages go through now."""
        return self._up

    @property
    def lost(self) -> int:
        """Deliveries that were dropped because the owner did not read in time."""
        return self._inbox.lost

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hand a message to the connection; at QoS 1 it is kept until the broker has it, also over a reconnect.

        Raises:
            FullError: the payload is too large, or too many messages wait.
            ClosedError: the link was closed.
            LinkError: nobody can publish to this topic.
            LocalProtocolError: QoS 2 is never used.
        """
        checked_qos(qos)
        if len(payload) > LARGEST_PAYLOAD:
            raise FullError(f"a payload of {len(payload)} bytes: send it in pieces, {LARGEST_PAYLOAD} is the largest")
        if self._closed.is_set():
            raise ClosedError(f"the link of {self._address.client_id} is closed")
        try:
            sent = self._client.publish(topic, payload, qos=qos, retain=retain)
        except ValueError as error:
            raise LinkError(f"{topic[:120]!r} can't be published to: {error}") from error
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise FullError(f"{QUEUED} messages wait for the connection to the broker")
        with self._change:
            self.bytes_up += len(topic) + len(payload)
            if qos:
                # Without a connection paho says NO_CONN, but keeps the message and sends it later.
                sent.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
                self._unacknowledged.append(sent)
                if len(self._unacknowledged) > 2 * QUEUED:  # paho itself keeps no more than `QUEUED`
                    self._unacknowledged = deque(one for one in self._unacknowledged if not one.is_published())

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe now and after every reconnect.

        Raises:
            LinkError: it is not a topic filter.
        """
        checked_qos(qos)
        if not topics.well_formed(topic_filter):
            raise LinkError(f"{topic_filter[:120]!r} is not a topic filter")
        with self._change:
            self._filters[topic_filter] = qos
            up = self._up
        if up:  # if not, the next connection begins with it
            self._client.subscribe(topic_filter, qos)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription away."""
        with self._change:
            known = self._filters.pop(topic_filter, None) is not None
            up = self._up
        if up and known:
            self._client.unsubscribe(topic_filter)

    def receive(self, timeout: float) -> Delivery | None:
        """Return the next delivery, or None after `timeout` seconds."""
        return self._inbox.get(timeout)

    def close(self) -> None:
        """Leave in an orderly way; no will is published.

        What was published at QoS 1 is waited for, at most 5 s and only while connected: a broker that is away loses it.
        """
        if self._closed.is_set():
            return
        self._inbox.close()
        until = time.monotonic() + GOODBYE
        while self._unacknowledged and self._up and time.monotonic() < until:
            self._unacknowledged[0].wait_for_publish(0.1)
            if self._unacknowledged[0].is_published():
                self._unacknowledged.popleft()
        self._leave()

    def _leave(self) -> None:
        self._closed.set()
        self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(GOODBYE)
        self._drop()

    def _connect(self, timeout: float) -> None:
        for left in reversed(range(self._places.count)):
            host, port = self._places.next()
            try:
                self._client.connect(host, port, self._keepalive)
                break
            except OSError as error:
                if not left:
                    where = f"no broker at {host}:{port} ({error})"
                    raise UnreachableError(f"{where}: is it running, and is the port right?") from error
        self._thread.start()
        with self._change:
            answered = self._change.wait_for(lambda: self._answered, timeout)
        if self.connections:
            return
        self._leave()
        if answered:
            raise RefusedError(self.refusal)
        raise UnreachableError(f"{host}:{port} did not answer the login: is it a broker?")

    def _run(self) -> None:
        """Drive paho until closed, and reconnect with full jitter."""
        delay = FIRST_DELAY
        while not self._closed.is_set():
            while self._works():
                if self._up:
                    delay = FIRST_DELAY
            self._up = False
            while not self._closed.wait(delay * int.from_bytes(self._entropy(4), "little") / 2**32):
                delay = min(LARGEST_DELAY, delay * 2)
                self._client.connect_async(*self._places.next(), self._keepalive)
                try:
                    self._client.reconnect()
                except OSError:
                    continue
                break

    def _works(self) -> bool:
        """Read and write once, and return whether the connection still stands."""
        try:
            code = self._client.loop(1.0)
        except Exception:  # whatever it was, this thread must live; paho is in no known state
            LOG.exception("the connection of %s is dropped and made again", self._address.client_id)
            self._drop()
            return False
        if self._client._in_packet["remaining_length"] > LARGEST_PACKET:  # noqa: SLF001 - paho has no limit of its own
            LOG.warning("the broker sends %s a packet that is too large", self._address.client_id)
            self._drop()
            return False
        return code == MQTTErrorCode.MQTT_ERR_SUCCESS

    def _drop(self) -> None:
        """Close the socket as it is."""
        found = self._client.socket()
        if found is not None:
            found.close()

    def _on_connect(
        self, client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        with self._change:
            self._answered = True
            if reason.is_failure:
                self.refusal = _REFUSED.get(str(reason), f"the broker refused the connection: {reason}")
                filters = {}
            else:
                self.refusal = ""
                self.connections += 1
                self._up = True  # in one step with the filters: what `subscribe` adds is sent here or there
                filters = dict(self._filters)
            self._change.notify_all()
        for topic_filter, qos in filters.items():
            client.subscribe(topic_filter, qos)

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            delivery = Delivery(topic=message.topic, payload=bytes(message.payload), retained=message.retain)
        except UnicodeDecodeError:  # a topic that is not UTF-8 is nobody's
            return
        if self._inbox.put(delivery):
            with self._change:
                self.bytes_down += len(delivery.topic) + len(delivery.payload)
