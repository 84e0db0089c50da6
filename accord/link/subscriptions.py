"""What a link subscribes to: the filters, which the broker was asked for, and when to ask again for those it refused.

A broker refuses for good what a client may not hear, and for a while what it can't serve now, as a cluster does that
has just lost a node. MQTT 3.1.1 does not tell the two apart, so a refused filter is asked for again, more and more
seldom.
"""

from collections.abc import Iterable, Sequence

from accord.entropy import Entropy

FIRST_PAUSE, LARGEST_PAUSE = 1.0, 60.0
"""Seconds until a refused filter is asked for again: half of a bound that doubles, and as much again by chance."""


class Subscriptions:
    """The subscriptions of one link; the owner holds a lock around every call.

    Args:
        entropy: for the jitter.
        most: the largest QoS that is asked for.
    """

    def __init__(self, entropy: Entropy, *, most: int = 1) -> None:
        self._entropy, self._most = entropy, most
        self._wanted: dict[str, int] = {}
        self._asked: dict[int, tuple[str, ...]] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}

    @property
    def wanted(self) -> dict[str, int]:
        """The filters with the QoS of each."""
        return dict(self._wanted)

    def add(self, topic_filter: str, qos: int) -> dict[str, int]:
        """Want a filter, and return it with the QoS to ask for."""
        self._wanted[topic_filter] = min(qos, self._most)
        return {topic_filter: self._wanted[topic_filter]}

    def remove(self, topic_filter: str) -> bool:
        """Want a filter no more, and return whether it was wanted."""
        self._pauses.pop(topic_filter, None)
        self._due.pop(topic_filter, None)
        return self._wanted.pop(topic_filter, None) is not None

    def connected(self) -> None:
        """Forget what was asked for on the connection before."""
        self._asked.clear()
        self._due.clear()

    def asked(self, number: int | None, filters: Iterable[str]) -> None:
        """Note the number of the packet that asked for filters; None if there was no connection to ask on."""
        if number is not None:
            self._asked[number] = tuple(filters)

    def answered(self, number: int, refused: Sequence[bool], now: float) -> tuple[str, ...]:
        """Take the broker's answer for each filter of a packet, and return those that it refused.

        Args:
            number: of the packet.
            refused: whether it refuses, in the packet's order.
            now: monotonic seconds.
        """
        found = []
        # A broker that answers for fewer than were asked for has not granted the rest, nor refused it.
        for topic_filter, no in zip(self._asked.pop(number, ()), refused, strict=False):
            if topic_filter not in self._wanted:
                continue
            if not no:
                self._pauses.pop(topic_filter, None)
                continue
            pause = self._pauses.get(topic_filter, FIRST_PAUSE)
            self._pauses[topic_filter] = min(LARGEST_PAUSE, 2 * pause)
            self._due[topic_filter] = now + pause * (1 + int.from_bytes(self._entropy(4), "little") / 2**32) / 2
            found.append(topic_filter)
        return tuple(found)

    def due(self, now: float) -> dict[str, int]:
        """Return the filters to ask for again at `now`, with the QoS of each; each is returned once."""
        found = [topic_filter for topic_filter, at in self._due.items() if at <= now]
        for topic_filter in found:
            del self._due[topic_filter]
        return {topic_filter: self._wanted[topic_filter] for topic_filter in found}
