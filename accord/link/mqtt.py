"""A link over MQTT with paho: one thread at the socket, a bounded hand-off, and reconnects of our own.

The link's thread alone reads and writes the socket, and fills an inbox that whoever owns the link empties. An exception
in a callback would end that thread while paho still says connected: here it costs the connection, which comes back.
MQTT 3.1.1 is spoken, and MQTT 5 where a broker has it and the owner remembers what it can do.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from accord.entropy import Entropy
from accord.link import reasons
from accord.link.abilities import NEW, OLD, Abilities
from accord.link.address import Address
from accord.link.inbox import MOST_BYTES, Inbox
from accord.link.marks import Marks
from accord.link.paho_client import QUEUED, SESSION, PahoClient
from accord.link.pauses import Pauses
from accord.link.places import Places
from accord.link.port import ClosedError, Delivery, FullError, LinkError, Will, checked_qos
from accord.link.remembered import Remembered
from accord.link.subscriptions import Subscriptions
from accord.link.tls import explained
from accord.wire import topics

GOODBYE = 5.0
"""Seconds in which `close` gets out what was published."""
LOG = logging.getLogger("accord.link")


class MqttLink:
    """One client's connection, which comes back by itself; see the port `Link`.

    Args:
        address: of the broker.
        entropy: the jitter of reconnects.
        will: what the broker publishes if we go without a word.
        keepalive: seconds after which a silent connection counts as dead.
        connect_timeout: seconds for the first connection.
        inbox_bytes: bytes of deliveries that may wait for the owner.
        known: what this broker was found to be able to do before.
        learned: told what it can do whenever that is news, later in the link's thread; None: MQTT 3.1.1 is spoken and
            nothing asked. With MQTT 5 a delivery is acknowledged when the owner, who has kept it, asks for the next.
        settled: whether the owner calls `settle`: what it has not dealt with when it is killed the broker sends again,
            by whatever version of MQTT, and it sends little more before that.

    Raises:
        UnreachableError: no broker answers there.
        UntrustedError: its certificate does not hold.
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
        known: Abilities | None = None,
        learned: Callable[[Abilities], None] | None = None,
        settled: bool = False,
    ) -> None:
        self.connections = self.bytes_up = self.bytes_down = 0
        self.refusal = ""
        """Why the broker refused the last login or ended the connection; empty while it lets us in."""
        self.abilities = Abilities.old(address.shown)
        self._address, self._pauses = address, Pauses(entropy)
        self._keepalive, self._timeout = keepalive, connect_timeout
        self._places, self._place = Places(address.nodes, entropy), address.nodes[0]
        self._inbox = Inbox(most_bytes=inbox_bytes)
        self._subscriptions = Subscriptions(entropy, most=address.most_qos)
        self._settled = settled and address.most_qos > 0  # at QoS 0 nothing comes again
        self._new = partial(PahoClient, address, will=will, timeout=connect_timeout, meter=self, settled=self._settled)
        self._marks = Marks()
        self._change = threading.Condition()
        self._up, self._answer = False, ""
        self._closed, self._client = threading.Event(), self._made(OLD)
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{address.client_id}", daemon=True)
        self._remembered = Remembered(address.shown, known, learned)
        self._begin()

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
        largest = self.abilities.largest_payload(topic)
        if len(payload) > largest:
            raise FullError(f"a payload of {len(payload)} bytes: send it in pieces, {largest} is the largest")
        if self._closed.is_set():
            raise ClosedError(f"the link of {self._address.client_id} is closed")
        try:
            queued = self._client.send(topic, payload, qos=qos, retain=retain and self.abilities.retain)
        except ValueError as error:
            raise LinkError(f"{topic[:120]!r} can't be published to: {error}") from error
        if not queued:
            raise FullError(f"{QUEUED} messages wait for the connection to the broker")

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe now and after every reconnect; at QoS 0 where the session is `unqueued`.

        Raises:
            LinkError: it is not a topic filter.
        """
        checked_qos(qos)
        if not topics.well_formed(topic_filter):
            raise LinkError(f"{topic_filter[:120]!r} is not a topic filter")
        with self._change:
            asked = self._subscriptions.add(topic_filter, qos)
            if self._up:  # if not, the next connection begins with it
                self._ask(asked)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription away."""
        with self._change:
            known = self._subscriptions.remove(topic_filter) and self._up
        if known:
            self._client.unsubscribe(topic_filter)

    def receive(self, timeout: float) -> Delivery | None:
        """Return the next delivery, or None after `timeout` seconds; it settles first if the owner does not."""
        if not self._settled:
            self.settle()
        delivery = self._inbox.get(timeout)
        if delivery is not None:
            self._marks.taken()
        return delivery

    def settle(self) -> None:
        """Acknowledge what was received so far."""
        with self._change:  # what is queued here goes with a connection that ends: paho forgets it as it connects anew
            for number in self._marks.settled():
                self._client.ack(number, 1)

    def close(self) -> None:
        """Leave in an orderly way; no will is published.

        What was published at QoS 1 is waited for, at most 5 s and only while connected: a broker that is away loses it.
        """
        if self._closed.is_set():
            return
        self._inbox.close()
        self._client.finish(GOODBYE, lambda: self._up)
        self._closed.set()
        self._client.disconnect()
        if self._thread.is_alive():
            self._thread.join(GOODBYE)
        self._client.release()

    def _made(self, version: int, known: Abilities | None = None) -> PahoClient:
        client = self._new(version, known=known)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe, client.on_message = self._on_subscribe, self._on_message
        return client

    def _begin(self) -> None:
        """Log in for the first time, and go on in the thread."""
        for version in self._remembered.versions:
            self._client = self._made(version, self._remembered.known)
            if self._login():
                break
            objection = self._client.objection
            self._client.release()
            if objection is not None:
                raise self._explained(objection)
            if version == OLD or self._answer not in ("", reasons.VERSION):
                self._closed.set()
                raise reasons.refusal(self._answer, self._address.shown_at(self._place))
        self._remembered.tell(self.abilities)
        self._thread.start()

    def _login(self) -> bool:
        """Connect to the first node that answers, and return whether it has let us in; its answer is in `_answer`."""
        self._answer = ""
        for left in reversed(range(self._places.count)):
            self._place = self._places.next()
            try:
                self._client.begin(self._place, self._keepalive)
            except OSError as error:
                if left:
                    continue
                self._client.release()
                raise self._explained(error) from error
            until = time.monotonic() + self._timeout
            while not self._answer and self._client.works(min(1.0, self._timeout)) and time.monotonic() < until:
                pass
            if self._answer or self._client.objection is not None or not left:
                break
            self._client.drop()  # a node that has lost its cluster takes connections, and no login
        return self._up

    def _run(self) -> None:
        """Drive paho until closed, and reconnect."""
        while not self._closed.is_set():
            while self._client.works():
                if self._up:
                    self._pauses.over()
                    self._remembered.tell_later(self.abilities)
                    with self._change:
                        self._ask(self._subscriptions.due(time.monotonic()))
            with self._change:
                self._up = False
                self._marks.lost()
            while not self._closed.wait(self._pauses.next()):
                try:
                    self._again()
                except Exception as error:  # noqa: BLE001 - whatever it was, this thread must live
                    self.refusal = str(self._explained(error) if isinstance(error, OSError) else error)
                    continue
                break

    def _again(self) -> None:
        """Connect once more, by the version that the broker still speaks: it may be another one by now."""
        if self._answer == reasons.VERSION and self._client.version == NEW:
            self.abilities = Abilities.old(self._address.shown)
            self._client.release()
            self._client = self._made(OLD)  # what the one before had not sent goes with it: its owner sends it again
        self._place = self._places.next()
        self._client.begin(self._place, self._keepalive)

    def _explained(self, error: OSError) -> LinkError:
        return explained(error, self._address.shown_at(self._place), self._place[0], self._address.tls)

    def _on_connect(
        self, _client: paho.Client, _userdata: object, _flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._change:
            self._answer = str(reason)
            if reason.is_failure:
                self.refusal = reasons.named(self._answer)[1]
            else:
                if self._client.version == NEW and properties is not None:
                    self.abilities = Abilities.said(self._address.shown, properties, SESSION)
                self.refusal = ""
                self.connections += 1
                self._up = True  # in one step with the filters: what `subscribe` adds is sent here or there
                self._subscriptions.connected()
                self._ask(self._subscriptions.wanted)
            self._change.notify_all()

    def _ask(self, filters: Mapping[str, int]) -> None:
        if filters:  # in one packet: a cluster writes the session down for each
            _, number = self._client.subscribe(list(filters.items()))  # no number without a connection, which asks anew
            self._subscriptions.asked(number, filters)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: object, number: int, answers: list[ReasonCode], _more: object
    ) -> None:
        with self._change:
            found = self._subscriptions.answered(number, [one.is_failure for one in answers], time.monotonic())
        if found:
            LOG.info("the broker refuses %s %s; it is asked again", self._address.client_id, ", ".join(found))

    def _on_disconnect(
        self, _client: paho.Client, _userdata: object, flags: paho.DisconnectFlags, reason: ReasonCode, _more: object
    ) -> None:
        if flags.is_disconnect_packet_from_server:  # with MQTT 5 the broker says why
            self.refusal = reasons.named(str(reason))[1]
            LOG.warning("the broker ends the connection of %s: %s", self._address.client_id, self.refusal)

    def _on_message(self, client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        held = self._client.acknowledges and message.qos == 1
        delivery: Delivery | None
        try:
            delivery = Delivery(topic=message.topic, payload=bytes(message.payload), retained=message.retain)
        except UnicodeDecodeError:  # a topic that is not UTF-8 is nobody's
            delivery = None
        self._marks.came(message.mid if held else None)
        if delivery is None or not self._inbox.put(delivery):
            self._marks.dropped()
            if held and not self._inbox.closed:  # what comes while we leave would be lost with us, and can come again
                client.ack(message.mid, 1)
