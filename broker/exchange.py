"""amqtt's sessions with our delivery: letters find their readers by index, are never formatted, and wait within bounds.

amqtt keeps the sessions and speaks with their clients; of letters it knows nothing: those go from the gate to outboxes.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import Session

from accord.wire import topics
from broker.attempts import Attempts
from broker.config import Limits
from broker.outbox import Letter, Outbox, Traffic
from broker.subscriptions import Subscriptions, stem, wild
from broker.wire import Wire

if TYPE_CHECKING:
    from broker.gate import Gate

LISTENER = "default"
SOON = 4  # from one part in so many of a client's room on, it is looked for before a letter is taken
REPLAYS, PATIENT = 10.0, 30.0  # seconds' worth of retained letters at once, and the longest wait for more
OVERHEAD = 64  # bytes that a retained letter counts beside its own
REFUSED = 0x80  # return code of a subscription (MQTT 3.1.1, section 3.9.3)


class Exchange(Broker):  # type: ignore[misc]
    """The part of the broker behind the front door: sessions, subscriptions, retained letters and delivery.

    Args:
        limits: what clients may take up.
        attempts: where refusals are noted.
    """

    def __init__(self, limits: Limits, attempts: Attempts) -> None:
        super().__init__({"listeners": {LISTENER: {"type": "external"}}, "plugins": {}})
        self._limits, self._attempts = limits, attempts
        self._subscriptions: Subscriptions = Subscriptions()
        self._retained: dict[str, tuple[Letter, int]] = {}
        self._replays: dict[str, tuple[float, float]] = {}
        self.outboxes: dict[str, Outbox] = {}
        self.traffic = Traffic()

    async def serve(self, gate: "Gate", wire: Wire) -> None:
        """Serve one client, whom the front door has let in, until its connection ends."""
        client = gate.connect.client
        try:
            await self.external_connected(gate, wire, LISTENER)
        finally:
            box = self.outboxes.get(client)
            if box is not None and box.wire is wire:
                box.detach()
            if gate.connect.clean:
                await self._delete_session(client)

    @property
    def tight(self) -> bool:
        """Whether so much waits that room for a letter of QoS 1 must be looked for."""
        return self.traffic.waiting > self._limits.waiting // SOON

    async def room(self, sender: str, topic: str, size: int) -> None:
        """Wait until there is room for a letter, or a reader is stuck.

        Args:
            sender: the client that publishes it.
            topic: which it publishes to.
            size: of the payload, in bytes.
        """
        for client in tuple(self._subscriptions.holders(topic)):
            box = self.outboxes.get(client)
            if box is not None and box.crowded(sender, len(topic) + size):
                await box.room(sender, len(topic) + size)

    def publish(self, sender: str, topic: str, payload: bytes | memoryview, qos: int, *, retain: bool) -> list[Outbox]:
        """Give a letter to all who subscribed to its topic, and return where the sender fills its share of the room.

        Args:
            sender: the client that published it.
            topic: which the sender may publish to.
            payload: of any size that the front door lets through.
            qos: of the publication; a subscription may lower it, and never raises it.
            retain: whether it is kept for those who subscribe later; an empty one clears what is kept.
        """
        self.traffic.letters_in += 1
        self.traffic.bytes_in += len(topic) + len(payload)
        letter, crowded = Letter(sender, topic, payload), []
        for client, granted in self._subscriptions.holders(topic).items():
            box = self.outboxes.get(client)
            if box is None:  # its session is being forgotten: that is nothing to its sender
                continue
            box.offer(letter, min(granted, qos))
            if box.crowded(sender):
                crowded.append(box)
        if retain:
            self._retain(sender, topic, payload, qos)
        return crowded

    def goodbye(self, client: str) -> None:
        """Publish no will for a client that says goodbye, also where it does so before amqtt listens for it."""
        found = self._sessions.get(client)
        if found is not None:
            found[0].will_flag = False

    async def forget(self, client: str) -> None:
        """Forget a client that may log in no more: its session, its subscriptions and what waits for it."""
        await self._delete_session(client)
        self._replays.pop(client, None)

    def patience(self, client: str) -> float:
        """Return the seconds that a client must wait before it may subscribe: it was sent much that is retained.

        A new connection or a clean session does not shorten it.
        """
        return max(0.0, -self._replayed(client, 0) / self._limits.replay)

    def _replayed(self, client: str, size: int) -> float:
        """Note that a client is sent retained letters of so many bytes, and return how many it may have at once."""
        rate, now = self._limits.replay, float(self._loop.time())
        left, since = self._replays.get(client, (REPLAYS * rate, now))
        left = max(-PATIENT * rate, min(REPLAYS * rate, left + (now - since) * rate) - size)
        self._replays[client] = left, now
        return left

    @property
    def retained(self) -> tuple[int, int]:
        """How many letters are retained, and their bytes."""
        return len(self._retained), sum(letter.size for letter, _ in self._retained.values())

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Subscribe, and return the granted QoS or the code of a refusal; the gate has judged the filter."""
        client, topic_filter, qos = session.client_id, subscription[0], min(subscription[1], 1)
        known = self._subscriptions.holds(client, topic_filter)
        if self._subscriptions.count(client) >= self._limits.filters and not known:
            self._attempts.note("subscribe", "%s has %d subscriptions and gets no more", client, self._limits.filters)
            return REFUSED
        self._subscriptions.add(client, topic_filter, qos)
        return qos

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Keep the payload of a will for those who subscribe later, where a publication would be kept."""
        if source_session is not None and topic_name is not None and topics.kept(topic_name):
            self._retain(source_session.client_id, topic_name, bytes(data or b""), qos or 0)

    def _retain(self, sender: str, topic: str, payload: bytes | memoryview, qos: int) -> None:
        if not payload:
            self._retained.pop(topic, None)
        elif len(payload) > self._limits.retained:
            self._attempts.note("publish", "%s would retain %d bytes, which is too much", sender, len(payload))
        else:
            self._retained[topic] = (Letter(sender, topic, bytes(payload), retained=True), qos)

    async def _broadcast_message(
        self,
        session: Session | None,
        topic: str | None,
        data: bytes | bytearray | None,
        force_qos: int | None = None,
    ) -> None:
        """Publish a will."""
        if session is not None and topic is not None:
            self.publish(session.client_id, topic, bytes(data or b""), force_qos or 0, retain=False)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Give a client that subscribed what is retained there."""
        topic_filter, box = subscription[0], self.outboxes[session.client_id]
        if wild(topic_filter):
            start = stem(topic_filter)
            found = [
                held
                for topic, held in self._retained.items()
                if topic.startswith(start) and topics.matches(topic_filter, topic)
            ]
        else:
            found = [self._retained[topic_filter]] if topic_filter in self._retained else []
        self._replayed(session.client_id, sum(letter.size + OVERHEAD for letter, _ in found))
        for letter, qos in found:
            box.offer(letter, min(qos, subscription[1], 1))

    async def _initialize_client_session(
        self, reader: "Gate", writer: Wire, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        """Find or make the session of a client, and give it an outbox."""
        client, clean = reader.connect.client, reader.connect.clean
        before = self._sessions.get(client)
        if before is not None and before[0].clean_session and not clean:
            await self._delete_session(client)  # a clean session is over: a persistent one does not go on with it
        handler, session = await super()._initialize_client_session(reader, writer, remote_address, remote_port)
        session.clean_session, session.will_retain = clean, reader.connect.will_retain
        session.password = None
        # The gate looks after silence. amqtt would give up a packet that takes longer in the middle of it.
        session.keep_alive = 0
        self.outboxes.setdefault(client, Outbox(client, self._limits, self.traffic, self._attempts, self._loop.time))
        return handler, session

    async def _publish_session_retained_messages(self, session: Session) -> None:
        """Begin to send, now that the client was told that it is connected."""
        handler = self._get_handler(session)
        if handler is not None and isinstance(handler.writer, Wire):
            self.outboxes[session.client_id].attach(handler.writer, keeps=not session.clean_session)
            if handler.reader.over:
                # It went while it came. amqtt began to listen for its end only now, and would wait for it for ever.
                await handler.handle_connection_closed()

    async def _handle_subscription(
        self, client_session: Session, handler: BrokerProtocolHandler, subscribe_waiter: asyncio.Future[Any]
    ) -> None:
        await super()._handle_subscription(client_session, handler, subscribe_waiter)
        handler.reader.answered()

    async def _handle_unsubscription(
        self, client_session: Session, handler: BrokerProtocolHandler, unsubscribe_waiter: asyncio.Future[Any]
    ) -> None:
        await super()._handle_unsubscription(client_session, handler, unsubscribe_waiter)
        handler.reader.answered()

    async def _authenticate(self, session: Session, _: Any) -> bool:  # noqa: ARG002 - amqtt's signature
        return True  # the front door did

    async def _session_monitor(self) -> None:
        """Do nothing: sessions end with their connection, or when their client is forgotten."""

    async def _delete_session(self, client_id: str) -> None:
        await super()._delete_session(client_id)
        self._subscriptions.remove_all(client_id)
        box = self.outboxes.pop(client_id, None)
        if box is not None:
            box.discard()

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        return self._subscriptions.remove(session.client_id, a_filter)

    async def _del_all_subscriptions(self, session: Session) -> None:
        self._subscriptions.remove_all(session.client_id)
