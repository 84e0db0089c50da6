"""Who subscribed to what, found by topic without walking over every filter; knows nothing of connections."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from accord.wire import topics

REMEMBERED, LONGEST = 4_096, 256  # topics whose holders are remembered, and characters of one
_NOBODY: Mapping[str, int] = MappingProxyType({})


class Subscriptions:
    """Filters, and who holds them at which QoS.

    Filters without wildcards are looked up, and the others are found by what stands before their first wildcard.
    """

    def __init__(self) -> None:
        self._plain: dict[str, dict[str, int]] = {}
        self._wild: dict[str, dict[str, dict[str, int]]] = {}
        self._held: dict[str, set[str]] = {}
        self._found: dict[str, Mapping[str, int]] = {}

    def __iter__(self) -> Iterator[str]:
        # amqtt walks over all filters of everybody when a client connects, to send it what is retained there: that is
        # for who subscribes (MQTT 3.1.1, section 3.8.4), so there is nothing to walk over.
        return iter(())

    def clear(self) -> None:
        """Forget everything."""
        self._plain.clear()
        self._wild.clear()
        self._held.clear()
        self._found.clear()

    def count(self, client: str) -> int:
        """Return how many filters a client holds."""
        return len(self._held.get(client, ()))

    def holds(self, client: str, topic_filter: str) -> bool:
        """Return whether a client holds a filter."""
        return topic_filter in self._held.get(client, ())

    def add(self, client: str, topic_filter: str, qos: int) -> None:
        """Give a client a filter, or change the QoS of one that it holds."""
        self._found.clear()
        self._held.setdefault(client, set()).add(topic_filter)
        if wild(topic_filter):
            self._wild.setdefault(stem(topic_filter), {}).setdefault(topic_filter, {})[client] = qos
        else:
            self._plain.setdefault(topic_filter, {})[client] = qos

    def holders(self, topic: str) -> Mapping[str, int]:
        """Return everybody who hears a topic, with the highest QoS of the filters that match."""
        found = self._found.get(topic)
        if found is None:
            found = self._holders(topic)
            if len(topic) <= LONGEST:
                if len(self._found) >= REMEMBERED:
                    self._found.clear()
                self._found[topic] = found
        return found

    def _holders(self, topic: str) -> Mapping[str, int]:
        found = dict(self._plain.get(topic, ()))
        levels = topic.split("/")
        for length in range(len(levels) + 1):
            for topic_filter, holders in self._wild.get("/".join(levels[:length]), {}).items():
                if topics.matches(topic_filter, topic):
                    for client, qos in holders.items():
                        found[client] = max(qos, found.get(client, 0))
        return found or _NOBODY

    def remove(self, client: str, topic_filter: str) -> int:
        """Take one subscription away and return how many there were; a filter without holders is forgotten."""
        filters = self._held.get(client, set())
        if topic_filter not in filters:
            return 0
        self._found.clear()
        filters.discard(topic_filter)
        if not filters:
            del self._held[client]
        group = self._wild.get(stem(topic_filter), {}) if wild(topic_filter) else self._plain
        del group[topic_filter][client]
        if not group[topic_filter]:
            del group[topic_filter]
        if wild(topic_filter) and not group:
            del self._wild[stem(topic_filter)]
        return 1

    def remove_all(self, client: str) -> None:
        """Take all of a client's subscriptions away."""
        for topic_filter in tuple(self._held.get(client, ())):
            self.remove(client, topic_filter)


def wild(topic_filter: str) -> bool:
    """Return whether a filter has a wildcard."""
    return "+" in topic_filter or "#" in topic_filter


def stem(topic_filter: str) -> str:
    """Return the levels before the first wildcard."""
    levels = topic_filter.split("/")
    return "/".join(levels[: next((at for at, level in enumerate(levels) if level in ("+", "#")), len(levels))])
