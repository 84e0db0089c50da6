"""Which messages were received and are not acknowledged yet: numbers of packets, each good on one connection alone."""

from collections import deque


class Marks:
    """Those of one link. The thread of the connection says what came, and the owner of the link what it has taken.

    `lost` and `settled` are called under one lock.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int] | None] = deque()
        self._open: list[tuple[int, int]] = []
        self._connection = 0

    def came(self, number: int | None) -> None:
        """Note the packet of the delivery that is put into the inbox now; None needs no acknowledgement."""
        self._waiting.append(None if number is None else (self._connection, number))

    def dropped(self) -> None:
        """Forget the one that came last, for which there was no room.

        It is acknowledged all the same: one that is not takes up one of the few that a broker has on the way, until the
        connection ends, and after so many of them nothing would come any more.
        """
        self._waiting.pop()

    def taken(self) -> None:
        """Note that the owner has the oldest delivery."""
        mark = self._waiting.popleft()
        if mark is not None:
            self._open.append(mark)

    def settled(self) -> list[int]:
        """Return the packets of what was taken, once each: those of this connection."""
        taken, self._open = self._open, []
        return [number for connection, number in taken if connection == self._connection]

    def lost(self) -> None:
        """The connection has ended: a number may mean another message on the next one."""
        self._connection += 1
