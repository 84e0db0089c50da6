"""The only door to a network: the port, and what comes through it. The links themselves are `memory` and `mqtt`."""

from accord.link.port import (
    ClosedError,
    Delivery,
    FullError,
    Link,
    LinkError,
    RefusedError,
    UnreachableError,
    UntrustedError,
    Will,
)

__all__ = [
    "ClosedError",
    "Delivery",
    "FullError",
    "Link",
    "LinkError",
    "RefusedError",
    "UnreachableError",
    "UntrustedError",
    "Will",
]
