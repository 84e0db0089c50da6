"""What every link offers: publish, subscribe, receive, close; and nothing of brokers."""

from dataclasses import dataclass, field
from typing import Protocol

from accord.errors import AccordError


class LinkError(AccordError):
    """The connection to the broker could not be made or was refused; the message says what to look at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One message as it came."""

    topic: str
    payload: bytes = field(repr=False)
    retained: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Will:
    """What the broker publishes for a client that goes without a word."""

    topic: str
    payload: bytes
    retain: bool = True


class Link(Protocol):
    """A client's connection to a broker."""

    @property
    def connected(self) -> bool:
        """Whether messages go through now."""
        ...

    @property
    def connections(self) -> int:
        """How often the connection was made: a change means that births and subscriptions must be sent again."""
        ...

    @property
    def bytes_up(self) -> int:
        """Bytes of topics and payloads published so far."""
        ...

    @property
    def bytes_down(self) -> int:
        """Bytes of topics and payloads received so far."""
        ...

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Hand a message to the link; it is sent when the connection allows."""
        ...

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> None:
        """Ask for the messages that a filter matches, retained ones first."""
        ...

    def unsubscribe(self, topic_filter: str) -> None:
        """Ask for them no more."""
        ...

    def receive(self, timeout: float) -> Delivery | None:
        """Return the next message, or None after `timeout` seconds."""
        ...

    def close(self) -> None:
        """Leave in an orderly way: no will is published."""
        ...
