"""Finds the newest roles document: here, or at the broker for a device that was away until its own had ended."""

import time
from collections.abc import Callable

from accord.errors import Refusal
from accord.link import Link, UnreachableError
from accord.secagg.authority import trusted_roles
from accord.wire import topics
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from edge_sdk.roles import newer

LISTENS = 0.5  # seconds
PATIENCE = 10.0
"""Seconds to wait for a document that the broker keeps: it comes at once, if there is one."""


def hear(
    link: Link,
    root: bytes,
    tenant: str,
    now: int,
    *,
    timeout: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
) -> bytes | None:
    """Return the first roles document that holds; None if none came in `timeout` seconds.

    Args:
        link: connected as the device.
        root: the fleet root's public key, 32 bytes.
        tenant: the device's.
        now: aggregator time in seconds, as far as this device knows.
        timeout: seconds.
        clock: monotonic seconds.
    """
    topic, until = topics.roles(tenant), clock() + timeout
    link.subscribe(topic)
    while clock() < until:
        delivery = link.receive(LISTENS)
        if delivery is not None and delivery.topic == topic:
            try:
                trusted_roles(delivery.payload, root, tenant, now=now, seen=0)
            except Refusal:
                continue  # one that does not hold may stand there for ever, and a better one come
            return delivery.payload
    return None


def newest(
    given: bytes, kept: bytes | None, root: bytes, tenant: str, *, now: int, connect: Callable[[], Link]
) -> bytes:
    """Return the newest document that is here, or, if that has ended, the one that the broker keeps.

    Args:
        given: that the device was given as a file.
        kept: that it heard last; None if it heard none.
        root: the fleet root's public key, 32 bytes.
        tenant: the device's.
        now: aggregator time in seconds, as far as this device knows.
        connect: connects as the device.

    Raises:
        LinkError: the broker refuses us.
    """
    roles = newer(given, kept, root, tenant)
    if opened(Envelope.decode(roles), Roles).expires > now:
        return roles
    try:
        link = connect()
    except UnreachableError:
        return roles  # which is then refused by name: started again, the device asks again
    try:
        heard = hear(link, root, tenant, now)
    finally:
        link.close()
    return newer(roles, heard, root, tenant)
