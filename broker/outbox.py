"""What waits for one client: letters in order, acknowledged or sent again, within bounds in bytes. Nothing is awaited.

At QoS 1 a letter stays until its PUBACK, however late that comes; over a new connection it is sent again, marked as a
duplicate (MQTT 3.1.1, section 4.4).
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from accord.ids import AGGREGATOR
from broker.attempts import Attempts
from broker.config import Limits
from broker.packets import publish_head
from broker.wire import HIGH, Wire

SHARE = 3  # one device may fill one part in so many of the room that is left; from a quarter of that on it has to wait
PATIENCE = 1.0  # seconds in which a reader must take something for a sender to wait for it


class Letter:
    """One publication on its way; its bytes are kept once, however many wait for it."""

    __slots__ = ("payload", "retained", "sender", "size", "topic")

    def __init__(self, sender: str, topic: str, payload: bytes | memoryview, *, retained: bool = False) -> None:
        self.sender, self.topic, self.payload, self.retained = sender, topic.encode(), payload, retained
        self.size = len(self.topic) + len(payload)


class Traffic:
    """What one broker has moved, and the bytes that wait in all of its outboxes together."""

    def __init__(self) -> None:
        self.letters_in = self.bytes_in = self.letters_out = self.bytes_out = self.dropped = self.waiting = 0


class _Due:
    """A letter for one client, and the packet id under which it was sent."""

    __slots__ = ("letter", "number", "qos")

    def __init__(self, letter: Letter, qos: int) -> None:
        self.letter, self.qos, self.number = letter, qos, 0


class Outbox:
    """The letters for one client, connected or not.

    Args:
        client: whose they are.
        limits: how many bytes may wait, and how many letters may be unacknowledged.
        traffic: of the whole broker.
        attempts: where a letter that is dropped is noted.
        now: monotonic seconds.
    """

    def __init__(
        self, client: str, limits: Limits, traffic: Traffic, attempts: Attempts, now: Callable[[], float]
    ) -> None:
        self._client, self._limits, self._traffic, self._attempts = client, limits, traffic, attempts
        self._now = now
        self._queue: deque[_Due] = deque()
        self._sent: dict[int, _Due] = {}
        self._numbers: set[int] = set()
        self._last = 0
        self._of: dict[str, int] = {}
        self._taken = 0.0
        self._room = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None
        self.wire: Wire | None = None
        self.waiting = 0
        self.keeps = False
        """Whether letters of QoS 1 are kept while the client is away: not for a clean session."""

    def __len__(self) -> int:
        return len(self._queue) + len(self._sent)

    def offer(self, letter: Letter, qos: int) -> None:
        """Send a letter now, or keep it until the client can take it; what there is no room for is dropped."""
        away = self.wire is None
        if away and not (qos and self.keeps):
            return
        full = self._traffic.waiting + letter.size > self._limits.all_waiting
        if (self.waiting and not self._room_for(letter, qos)) or (away and full):
            self._traffic.dropped += 1
            why = "is away" if away else "reads too slowly"
            self._attempts.note("slow", "%s %s: a letter of %d bytes is dropped", self._client, why, letter.size)
            return
        if not self.waiting:
            self._taken = self._now()
        self._queue.append(_Due(letter, qos))
        self._count(letter, letter.size)
        if not away:
            self._push()

    def acknowledged(self, number: int) -> None:
        """Let go of the letter that was sent under a packet id; an unknown one changes nothing."""
        due = self._sent.pop(number, None)
        if due is None:
            if number not in self._numbers:
                return
            due = next(one for one in self._queue if one.number == number)  # sent over an earlier connection
            self._queue.remove(due)
        self._numbers.discard(number)
        self._gone(due)
        self._push()

    def attach(self, wire: Wire, *, keeps: bool) -> None:
        """Send what waits over a new connection, first what was not acknowledged over the last one."""
        self._again()
        self.wire, self.keeps = wire, keeps
        self._push()

    def detach(self) -> None:
        """Keep what a persistent session keeps, and drop the rest."""
        self.wire = None
        self._again()
        dropped = [due for due in self._queue if not (due.qos and self.keeps)]
        self._queue = deque(due for due in self._queue if due.qos and self.keeps)
        for due in dropped:
            self._numbers.discard(due.number)
            self._gone(due)

    def discard(self) -> None:
        """Forget everything: the session is over."""
        self.keeps = False
        self.detach()

    def crowded(self, sender: str, size: int = 0) -> bool:
        """Return whether a device fills a good part of its share of the room, and would better wait.

        The aggregator never waits: one slow device would hold up all the others.

        Args:
            sender: the device.
            size: of a letter that it has sent, in bytes, if there is one: whether there is no room for it yet.
        """
        if self.wire is None or sender == AGGREGATOR:
            return False
        if size:
            return self.waiting > 0 and self._of.get(sender, 0) + size > self._share(self._limits.waiting)
        return self._of.get(sender, 0) > self._share(self._limits.waiting) // 4

    async def room(self, sender: str, size: int = 0) -> None:
        """Wait until a sender may go on, or a letter of it has room; not for a client that takes nothing any more."""
        while self.crowded(sender, size) and self._now() - self._taken < PATIENCE:
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._room.wait(), PATIENCE / 4)

    def _room_for(self, letter: Letter, qos: int) -> bool:
        limits = self._limits
        room = limits.offline if self.wire is None else limits.waiting if qos else limits.waiting // 2
        if self.waiting + letter.size > room or self._traffic.waiting + letter.size > limits.all_waiting:
            return False
        return letter.sender == AGGREGATOR or self._of.get(letter.sender, 0) + letter.size <= self._share(room)

    def _share(self, room: int) -> int:
        """Return how many bytes one device may have here: a part of what is free, so that something always is.

        However many devices do their worst, each new one finds as much as each of them has (A. Choudhury and E. Hahne,
        "Dynamic queue length thresholds for shared-memory packet switches", 1998).
        """
        return max(0, room - self.waiting) // SHARE

    def _push(self) -> None:
        """Hand to the connection what it takes."""
        wire = self.wire
        while wire is not None and self._queue:
            if wire.buffered > HIGH:
                if self._draining is None or self._draining.done():
                    self._draining = asyncio.ensure_future(self._drained(wire))
                return
            due = self._queue[0]
            if due.qos and len(self._sent) >= self._limits.in_flight:
                return
            self._queue.popleft()
            again = due.number > 0
            if due.qos and not again:
                due.number = self._number()
            letter = due.letter
            wire.write_all(
                publish_head(
                    letter.topic, len(letter.payload), due.qos, due.number, again=again, retained=letter.retained
                ),
                letter.payload,
            )
            self._traffic.letters_out += 1
            self._traffic.bytes_out += letter.size
            if due.qos:
                self._sent[due.number] = due
            else:
                self._gone(due)

    async def _drained(self, wire: Wire) -> None:
        with contextlib.suppress(OSError):
            await wire.drain()
        self._draining = None
        self._push()

    def _again(self) -> None:
        """Put what was sent and not acknowledged before what was not sent yet."""
        self._queue.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def _number(self) -> int:
        """Return a packet id that no letter on its way has."""
        while True:
            self._last = self._last % 65_535 + 1
            if self._last not in self._numbers:
                self._numbers.add(self._last)
                return self._last

    def _gone(self, due: _Due) -> None:
        self._count(due.letter, -due.letter.size)
        self._taken = self._now()
        self._room.set()

    def _count(self, letter: Letter, size: int) -> None:
        self.waiting += size
        self._traffic.waiting += size
        left = self._of.get(letter.sender, 0) + size
        if left:
            self._of[letter.sender] = left
        else:
            self._of.pop(letter.sender, None)
