"""The only door to a network: the port, and what comes through it. The links themselves are `memory` and `mqtt`."""

from accord.link.port import Delivery, Link, LinkError

__all__ = ["Delivery", "Link", "LinkError"]
