"""A broker in memory, for tests and simulations, which ships with the package.

It drops, doubles, reorders and delays as told, on a clock that is turned by hand. It stands in for QoS 1 without
redelivery: what is dropped is gone unless the sender sends it again.
"""

import heapq
from collections import deque

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.link.port import ClosedError, Delivery, Will, checked_qos
from accord.values import dataclass
from accord.wire import topics


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How a memory broker misbehaves: probabilities from 0 to 1, and a delay in seconds of its clock.

    A reordered message changes places with the one before it in the receiver's queue; a delayed one is on its way for
    between nothing and twice `delay`.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= p <= 1 for p in (self.drop, self.duplicate, self.reorder)) or self.delay < 0:
            raise UsageError("drop, duplicate and reorder are probabilities; delay is 0 or more seconds")

    @property
    def none(self) -> bool:
        """Whether the broker behaves."""
        return self.drop == self.duplicate == self.reorder == self.delay == 0


class MemoryBroker:
    """Connects `MemoryLink`s within one process and one thread.

    Args:
        tenant: whose topics it carries.
        entropy: decides which messages are dropped, doubled, reordered or delayed.
        faults: how often.
        rules: whether clients are held to the topic rules.
    """

    def __init__(self, tenant: str, entropy: Entropy, faults: Faults | None = None, *, rules: bool = True) -> None:
        self.now = 0.0
        self.tenant, self._rules = tenant, rules
        self._entropy, self._faults = entropy, Faults() if faults is None else faults
        self._clients: dict[str, MemoryLink] = {}
        self._exact: dict[str, dict[str, MemoryLink]] = {}
        self._wild: dict[str, dict[str, MemoryLink]] = {}
        self._retained: dict[str, bytes] = {}
        self._flying: list[tuple[float, int, MemoryLink, Delivery]] = []
        self._count = 0

    def connect(self, client: str, will: Will | None = None) -> "MemoryLink":
        """Return a new link for `client`; an older one of the same name is taken over and closed."""
        if client in self._clients:
            self._clients[client].close()
        link = MemoryLink(self, client, will)
        self._clients[client] = link
        return link

    def advance(self, seconds: float) -> None:
        """Turn the clock; delayed messages arrive."""
        self.now += seconds
        while self._flying and self._flying[0][0] <= self.now:
            _, _, link, delivery = heapq.heappop(self._flying)
            link.take(delivery)

    @property
    def next_arrival(self) -> float | None:
        """Return when the next delayed message arrives, or None."""
        return self._flying[0][0] if self._flying else None

    def allows(self, client: str, action: topics.Action, topic: str) -> bool:
        """Return whether the topic rules let `client` do that."""
        return not self._rules or topics.allowed(client, self.tenant, action, topic)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Carry a message to everybody who subscribed."""
        if retain:
            self._retained.pop(topic, None)
            if payload:
                self._retained[topic] = payload
        delivery = Delivery(topic=topic, payload=payload)
        for link in tuple(self._exact.get(topic, {}).values()):
            self._carry(link, delivery)
        for topic_filter, links in self._wild.items():
            if topics.matches(topic_filter, topic):
                for link in tuple(links.values()):
                    self._carry(link, delivery)

    def subscribe(self, link: "MemoryLink", topic_filter: str) -> None:
        """Add a subscription and hand over what is retained."""
        wild = "+" in topic_filter or "#" in topic_filter
        (self._wild if wild else self._exact).setdefault(topic_filter, {})[link.client] = link
        found = self._retained.items() if wild else [(topic_filter, self._retained.get(topic_filter, b""))]
        for topic, payload in found:
            if payload and topics.matches(topic_filter, topic):
                self._carry(link, Delivery(topic=topic, payload=payload, retained=True))

    def unsubscribe(self, client: str, topic_filter: str) -> None:
        """Take a subscription away."""
        for table in (self._exact, self._wild):
            links = table.get(topic_filter, {})
            links.pop(client, None)
            if not links:
                table.pop(topic_filter, None)

    def leave(self, link: "MemoryLink") -> None:
        """Forget a client and all that it subscribed to."""
        if self._clients.get(link.client) is link:
            del self._clients[link.client]
            for topic_filter in link.filters:
                self.unsubscribe(link.client, topic_filter)

    def _chance(self, probability: float) -> bool:
        return probability > 0 and int.from_bytes(self._entropy(4), "little") < probability * 2**32

    def _carry(self, link: "MemoryLink", delivery: Delivery) -> None:
        faults = self._faults
        if faults.none:
            link.take(delivery)
            return
        if self._chance(faults.drop):
            return
        for _ in range(1 + self._chance(faults.duplicate)):
            if faults.delay > 0:
                self._count += 1
                way = 2 * faults.delay * int.from_bytes(self._entropy(4), "little") / 2**32
                heapq.heappush(self._flying, (self.now + way, self._count, link, delivery))
            else:
                link.take(delivery, swap=self._chance(faults.reorder))


class MemoryLink:
    """One client of a `MemoryBroker`; see the port `Link`."""

    def __init__(self, broker: MemoryBroker, client: str, will: Will | None) -> None:
        self.client = client
        self.connected = True
        self.connections = 1
        self.bytes_up = 0
        self.bytes_down = 0
        self.filters: set[str] = set()
        self._broker, self._will = broker, will
        self._queue: deque[Delivery] = deque()

    def take(self, delivery: Delivery, *, swap: bool = False) -> None:
        """Put a delivery into the queue, or before the last one in it."""
        if not self.connected:
            return
        self.bytes_down += len(delivery.topic) + len(delivery.payload)
        self._queue.append(delivery)
        if swap and len(self._queue) > 1:
            self._queue[-1], self._queue[-2] = self._queue[-2], self._queue[-1]

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Carry a message to the broker; a topic that the rules deny is dropped there, as brokers do.

        Raises:
            ClosedError: the link was closed.
        """
        if not self.connected:
            raise ClosedError(f"the link of {self.client} is closed")
        checked_qos(qos)
        self.bytes_up += len(topic) + len(payload)
        if self._broker.allows(self.client, "publish", topic):
            self._broker.publish(topic, payload, retain=retain)

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Subscribe; a filter that the rules deny gives nothing."""
        checked_qos(qos)
        if self._broker.allows(self.client, "subscribe", topic_filter):
            self.filters.add(topic_filter)
            self._broker.subscribe(self, topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription away."""
        self.filters.discard(topic_filter)
        self._broker.unsubscribe(self.client, topic_filter)

    def receive(self, timeout: float) -> Delivery | None:  # noqa: ARG002 - nobody else runs: there is nothing to wait for
        """Return the next delivery or None, at once."""
        return self._queue.popleft() if self._queue else None

    def settle(self) -> None:
        """Do nothing: nothing is sent again here."""

    def close(self) -> None:
        """Leave; no will is published."""
        self._leave()

    def die(self) -> None:
        """Go without a word, as a power cut does: what was not read is lost, and the will is published."""
        if self.connected:
            self._leave()
            if self._will is not None:
                self._broker.publish(self._will.topic, self._will.payload, retain=self._will.retain)

    def _leave(self) -> None:
        self.connected = False
        self._queue.clear()
        self._broker.leave(self)
