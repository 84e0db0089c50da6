"""What a broker said that it can do, in its answer to a login with MQTT 5 (section 3.2.2.3), as a device keeps it."""

from typing import ClassVar

from paho.mqtt.properties import Properties

from accord.link.port import LARGEST_PAYLOAD
from accord.records import Flag, Int, Record, Text, field
from accord.values import dataclass

OVERHEAD = 64
"""Bytes of a packet beside its topic and payload, at most."""
OLD, NEW = 4, 5
"""Protocol levels of MQTT 3.1.1, which every broker speaks, and of MQTT 5."""


@dataclass(frozen=True, kw_only=True)
class Abilities(Record):
    """One broker's; everything works without any of it.

    Args:
        broker: host and port, and the path of a WebSocket.
        version: `OLD` or `NEW`.
        largest_packet: bytes in one packet; 0 if it did not say.
        in_flight: messages that it takes unacknowledged; 0 if it did not say.
        retain: whether it keeps retained messages.
        wildcards: whether it knows `+` and `#` in filters.
        session: seconds for which it keeps a session without a connection.
    """

    LIMIT: ClassVar[int] = 1_024

    broker: str = field(Text(512))
    version: int = field(Int(OLD, NEW))
    largest_packet: int = field(Int(0, 2**32 - 1))
    in_flight: int = field(Int(0, 65_535))
    retain: bool = field(Flag())
    wildcards: bool = field(Flag())
    session: int = field(Int(0, 2**32 - 1))

    def largest_payload(self, topic: str) -> int:
        """Return how many bytes it takes in one message to a topic."""
        most = self.largest_packet
        return min(LARGEST_PAYLOAD, most - OVERHEAD - len(topic)) if most else LARGEST_PAYLOAD

    @classmethod
    def old(cls, broker: str) -> "Abilities":
        """Return those of a broker that speaks MQTT 3.1.1, which does not say what it can do."""
        return cls(broker=broker, version=OLD, largest_packet=0, in_flight=0, retain=True, wildcards=True, session=0)

    @classmethod
    def said(cls, broker: str, answer: Properties, asked: int) -> "Abilities":
        """Return those in a broker's answer to a login.

        Args:
            broker: as for the class.
            answer: the properties of its CONNACK.
            asked: seconds of a session that were asked for: a broker that says nothing grants them.
        """
        found = {name: getattr(answer, name, default) for name, default in _DEFAULTS.items()}
        return cls(
            broker=broker,
            version=NEW,
            largest_packet=found["MaximumPacketSize"],
            in_flight=found["ReceiveMaximum"],
            retain=bool(found["RetainAvailable"]),
            wildcards=bool(found["WildcardSubscriptionAvailable"]),
            session=getattr(answer, "SessionExpiryInterval", asked),
        )


_DEFAULTS = {
    "MaximumPacketSize": 0,
    "ReceiveMaximum": 0,
    "RetainAvailable": 1,
    "WildcardSubscriptionAvailable": 1,
}
