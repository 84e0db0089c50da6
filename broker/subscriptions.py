"""Who subscribed to what, found by topic without walking over every filter; knows nothing of connections."""

from collections.abc import Iterator

from amqtt.session import Session

from accord.wire import topics

Holder = tuple[Session, int]


class Subscriptions(dict[str, list[Holder]]):
    """amqtt's table of filters and their holders, each a session and its granted QoS.

    amqtt itself looks through all of it for every letter. Here filters without wildcards are looked up, and the others
    are found by what stands before their first wildcard.
    """

    def __init__(self) -> None:
        super().__init__()
        self._wild: dict[str, dict[str, list[Holder]]] = {}
        self._held: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[str]:
        # A copy: amqtt waits while it walks over the filters, and clients subscribe meanwhile.
        return iter(tuple(self.keys()))

    def __setitem__(self, topic_filter: str, holders: list[Holder]) -> None:
        super().__setitem__(topic_filter, holders)
        if "+" in topic_filter or "#" in topic_filter:
            self._wild.setdefault(_stem(topic_filter), {})[topic_filter] = holders

    def __delitem__(self, topic_filter: str) -> None:
        super().__delitem__(topic_filter)
        stem = _stem(topic_filter)
        group = self._wild.get(stem, {})
        group.pop(topic_filter, None)
        if not group:
            self._wild.pop(stem, None)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._wild.clear()
        self._held.clear()

    def count(self, client: str) -> int:
        """Return how many filters a client holds."""
        return len(self._held.get(client, ()))

    def note(self, client: str, topic_filter: str) -> None:
        """Remember that a client holds a filter, so that `remove_all` need not look for it."""
        self._held.setdefault(client, set()).add(topic_filter)

    def holds(self, client: str, topic_filter: str) -> bool:
        """Return whether a client holds a filter."""
        return topic_filter in self._held.get(client, ())

    def holders(self, topic: str) -> list[Holder]:
        """Return everybody who hears a topic; twice where two filters match."""
        found = list(self.get(topic, ()))
        levels = topic.split("/")
        for length in range(len(levels) + 1):
            group = self._wild.get("/".join(levels[:length]))
            if group is not None:
                for topic_filter, holders in group.items():
                    if topics.matches(topic_filter, topic):
                        found += holders
        return found

    def remove(self, client: str, topic_filter: str) -> int:
        """Take one subscription away and return how many there were; a filter without holders is forgotten."""
        holders = self.get(topic_filter, [])
        kept = [holder for holder in holders if holder[0].client_id != client]
        removed = len(holders) - len(kept)
        holders[:] = kept
        if not kept and topic_filter in self:
            del self[topic_filter]
        filters = self._held.get(client, set())
        filters.discard(topic_filter)
        if not filters:
            self._held.pop(client, None)
        return removed

    def remove_all(self, client: str) -> None:
        """Take all of a client's subscriptions away."""
        for topic_filter in tuple(self._held.get(client, ())):
            self.remove(client, topic_filter)


def _stem(topic_filter: str) -> str:
    """Return the levels before the first wildcard."""
    levels = topic_filter.split("/")
    return "/".join(levels[: next((at for at, level in enumerate(levels) if level in ("+", "#")), len(levels))])
