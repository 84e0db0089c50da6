"""Where else the same broker listens: the nodes of a cluster, tried in turn from a place that is drawn."""

from collections.abc import Sequence
from itertools import cycle

from accord.entropy import Entropy
from accord.errors import UsageError

Place = tuple[str, int]


def place(text: str) -> Place:
    """Return host and port of `HOST:PORT`; an IPv6 address stands in brackets.

    Raises:
        UsageError: it is not that.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise UsageError(f"{text[:120]!r} is not HOST:PORT with a port from 1 to 65535")
    return host, int(port)


def places(texts: object) -> tuple[Place, ...]:
    """Return the nodes of a configuration's `[broker] others`.

    Raises:
        UsageError: it is no list of `HOST:PORT`.
    """
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise UsageError('[broker] others is not a list such as ["broker-2:8883", "broker-3:8883"]')
    return tuple(place(text) for text in texts)


class Places:
    """The nodes in turn, for ever. Each client begins at one that it draws, so that a fleet spreads over all of them.

    Args:
        nodes: at least one.
        entropy: for the first.
    """

    def __init__(self, nodes: Sequence[Place], entropy: Entropy) -> None:
        self.count = len(nodes)
        at = int.from_bytes(entropy(4), "little") % len(nodes)
        self._turn = cycle([*nodes[at:], *nodes[:at]])

    def next(self) -> Place:
        """Return the node to try now."""
        return next(self._turn)
