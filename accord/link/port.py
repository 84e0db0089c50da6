"""What every link offers: publish, subscribe, receive, close; and nothing of brokers."""

from dataclasses import field
from typing import Protocol

from accord.errors import AccordError, LocalProtocolError
from accord.values import dataclass

LARGEST_PAYLOAD = 1 << 20
"""Bytes in one payload; larger objects go in pieces. Brokers accept this much and a topic."""


class LinkError(AccordError):
    """Something is wrong with the connection to the broker; the message says what to look at.

    Args:
        message: the sentence.
        reason: the stable name of what is wrong, in CamelCase, such as `WrongPassword`; or empty.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class UnreachableError(LinkError):
    """Nobody listens there, or whoever does is not a broker."""


class UntrustedError(LinkError):
    """The broker's certificate does not hold: it is another CA's, for another name, or ended."""


class RefusedError(LinkError):
    """The broker answered the login and refused it: a wrong password, a client id that is not ours, a version."""


class FullError(LinkError):
    """A payload is too large, or too many messages wait for the connection: slow down and try again."""


class ClosedError(LinkError):
    """The link was closed; nothing goes through it any more."""


def checked_qos(qos: int) -> int:
    """Return a quality of service that is used: 0 or 1.

    Raises:
        LocalProtocolError: it is another, such as 2, which half of the brokers lack.
    """
    if qos not in (0, 1):
        raise LocalProtocolError(f"QoS {qos}: 0 and 1 are used, never 2")
    return qos


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message as it came."""

    topic: str
    payload: bytes = field(repr=False)
    retained: bool = False


@dataclass(frozen=True, kw_only=True)
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
        """Bytes that went into the socket so far; where there is none, of topics and payloads."""
        ...

    @property
    def bytes_down(self) -> int:
        """Bytes that came out of it so far."""
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

    def settle(self) -> None:
        """Say that what was received so far is dealt with: until then a broker may send it again.

        Where the owner of the link did not ask to say so itself, the next `receive` says it.
        """
        ...

    def close(self) -> None:
        """Leave in an orderly way: no will is published."""
        ...
