"""Connections that have not logged in yet: how often one address may come, and who has to leave when there are many."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

MOST_ADDRESSES = 4_096  # remembered; the one that was longest away is forgotten first
_V6_SITE = 64  # bits: whoever has one address of a network has all of them


class Strangers:
    """Those who have not logged in.

    Args:
        per_second: connections from one address.
        at_once: how many of these may come at once after a quiet time.
        most: strangers at a time; one more, and the one that came first must leave.
    """

    def __init__(self, per_second: float, at_once: int, most: int) -> None:
        self._per_second, self._at_once, self._most = per_second, float(at_once), most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._inside: OrderedDict[object, Callable[[], None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._inside)

    def welcome(self, address: str, now: float) -> bool:
        """Return whether an address may come again at `now`, in monotonic seconds."""
        place = site(address)
        left, since = self._left.pop(place, (self._at_once, now))
        left = min(self._at_once, left + (now - since) * self._per_second)
        self._left[place] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return left >= 1

    def enter(self, leave: Callable[[], None]) -> object:
        """Take a stranger in, and return what `left` needs; `leave` is called if it must go to make room."""
        ticket = object()
        self._inside[ticket] = leave
        if len(self._inside) > self._most:
            self._inside.popitem(last=False)[1]()
        return ticket

    def left(self, ticket: object) -> None:
        """Forget a stranger that left, or is none any more."""
        self._inside.pop(ticket, None)


def site(address: str) -> str:
    """Return what stands for an address: itself, or its network of 64 bits where it is IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _V6_SITE), strict=False))
    return str(found)
