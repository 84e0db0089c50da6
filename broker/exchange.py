"""amqtt's broker with our delivery: letters find their readers by index, are never formatted, and wait within bounds.

amqtt formats every payload for its log, also where nobody logs, and keeps whatever a slow reader does not take.
"""

import asyncio
import logging
from collections import deque
from typing import Any

from amqtt.broker import Broker
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.session import OutgoingApplicationMessage, Session

from broker.subscriptions import Subscriptions

LISTENER = "default"
MOST_WAITING = 16 << 20  # bytes on their way to one client; more are dropped, and asked for again by the protocol
MOST_OFFLINE = 100  # letters kept for a client that is away
MOST_FILTERS = 100  # of one client
REFUSED = 0x80  # return code of a subscription (MQTT 3.1.1, section 3.9.3)
_AT_ONCE = 64  # letters handed over before others have their turn
LOG = logging.getLogger("accord.broker")


class Exchange(Broker):  # type: ignore[misc]
    """The part of the broker behind the front door: sessions, subscriptions, retained letters and delivery."""

    def __init__(self) -> None:
        super().__init__(
            {
                "listeners": {LISTENER: {"type": "external"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        self._subscriptions: Subscriptions = Subscriptions()
        self._waiting: dict[str, int] = {}
        self._on_their_way: set[asyncio.Task[OutgoingApplicationMessage]] = set()
        self.dropped = 0

    async def shutdown(self) -> None:
        """End every session and what is on its way."""
        await super().shutdown()
        for task in tuple(self._on_their_way):
            task.cancel()
        await asyncio.gather(*self._on_their_way, return_exceptions=True)

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Subscribe, and return the granted QoS or the code of a refusal."""
        client, topic_filter = session.client_id, subscription[0]
        if self._subscriptions.count(client) >= MOST_FILTERS and not self._subscriptions.holds(client, topic_filter):
            LOG.warning("%s has %d subscriptions and gets no more", client, MOST_FILTERS)
            return REFUSED
        code: int = await super().add_subscription(subscription, session)
        if code != REFUSED:
            self._subscriptions.note(client, topic_filter)
        return code

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        return self._subscriptions.remove(session.client_id, a_filter)

    async def _del_all_subscriptions(self, session: Session) -> None:
        self._subscriptions.remove_all(session.client_id)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt walks over everybody's filters when a client connects: those of others are none of its business.
        if self._subscriptions.holds(session.client_id, subscription[0]):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _handle_message_delivery(
        self,
        client_session: Session,
        handler: BrokerProtocolHandler,  # noqa: ARG002 - amqtt's signature
        wait_deliver: asyncio.Future[Any],
    ) -> bool:
        """Take one letter from a client; the front door has judged its topic."""
        letter = wait_deliver.result()
        if letter is not None:
            await self._broadcast_message(client_session, letter.topic, letter.data, letter.qos)
            if letter.publish_packet is not None and letter.publish_packet.retain_flag:
                await self.retain_message(client_session, letter.topic, letter.data, letter.qos)
        return True

    async def _run_broadcast(self, running_tasks: deque[asyncio.Task[OutgoingApplicationMessage]]) -> None:  # noqa: ARG002
        """Hand the next letters over to all who subscribed."""
        letters = [await self._broadcast_queue.get()]
        while len(letters) < _AT_ONCE and not self._broadcast_queue.empty():
            letters.append(self._broadcast_queue.get_nowait())
        for letter in letters:
            for session, granted in self._subscriptions.holders(letter["topic"]):
                await self._hand_over(session, letter, min(granted, letter.get("qos", granted)))

    async def _hand_over(self, session: Session, letter: dict[str, Any], qos: int) -> None:
        client: str = session.client_id
        if session.transitions.state != "connected":
            if qos and not session.clean_session and session.retained_messages.qsize() < MOST_OFFLINE:
                await self._retain_broadcast_message(letter, qos, session)
            return
        handler = self._get_handler(session)
        size = len(letter["topic"]) + len(letter["data"])
        waiting = self._waiting.get(client, 0)
        if handler is None:
            return
        if waiting and waiting + size > MOST_WAITING:
            self.dropped += 1
            LOG.warning("%s reads too slowly: a letter of %d bytes is dropped", client, size)
            return
        self._waiting[client] = waiting + size
        task = asyncio.ensure_future(handler.mqtt_publish(letter["topic"], letter["data"], qos, retain=False))
        self._on_their_way.add(task)
        task.add_done_callback(lambda done: self._handed_over(done, client, size))

    def _handed_over(self, task: asyncio.Task[OutgoingApplicationMessage], client: str, size: int) -> None:
        self._on_their_way.discard(task)
        left = self._waiting.get(client, 0) - size
        if left > 0:
            self._waiting[client] = left
        else:
            self._waiting.pop(client, None)
        if not task.cancelled() and task.exception() is not None:
            LOG.debug("a letter did not reach %s: %s", client, type(task.exception()).__name__)
