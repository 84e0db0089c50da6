"""Deliveries that wait for their owner: bounded in number and in bytes, filled by one thread and emptied by another."""

import logging
import threading
from collections import deque

from accord.link.port import Delivery

MOST = 10_000
MOST_BYTES = 64 << 20
LOG = logging.getLogger("accord.link")
ROOM = 2.0
"""Seconds for which a full inbox makes the sender wait; the broker meanwhile holds back what follows."""


class Inbox:
    """A queue between the thread of a connection and the owner of the link.

    What finds no room in time is dropped, counted and logged: the protocol asks again for what it misses.

    Args:
        most: deliveries that may wait.
        most_bytes: bytes of topics and payloads that may wait; one delivery always may.
        room: seconds that `put` waits for room.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES, room: float = ROOM) -> None:
        self.lost = 0
        self._most, self._most_bytes, self._room = most, most_bytes, room
        self._waiting: deque[Delivery] = deque()
        self._bytes = 0
        self._closed = False
        lock = threading.Lock()
        self._filled, self._emptied = threading.Condition(lock), threading.Condition(lock)

    def put(self, delivery: Delivery) -> bool:
        """Add a delivery and return True, or return False where there is no room for it."""
        size = len(delivery.topic) + len(delivery.payload)
        with self._emptied:
            found = self._emptied.wait_for(lambda: self._closed or self._fits(size), self._room)
            if self._closed or not found:
                self.lost += 1
                if not self._closed:  # each took `room` seconds, so that there are not many of these lines
                    LOG.warning("no room for a letter of %d bytes: %d waited too long and are gone", size, self.lost)
                return False
            self._waiting.append(delivery)
            self._bytes += size
            self._filled.notify()
            return True

    def get(self, timeout: float) -> Delivery | None:
        """Return the next delivery, or None after `timeout` seconds without one."""
        with self._filled:
            if not self._waiting and timeout > 0:
                self._filled.wait_for(lambda: self._waiting or self._closed, min(timeout, threading.TIMEOUT_MAX))
            if not self._waiting:
                return None
            delivery = self._waiting.popleft()
            self._bytes -= len(delivery.topic) + len(delivery.payload)
            self._emptied.notify()
            return delivery

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closed

    def close(self) -> None:
        """Take nothing more, and let nobody wait."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()

    def _fits(self, size: int) -> bool:
        return not self._waiting or (len(self._waiting) < self._most and self._bytes + size <= self._most_bytes)
