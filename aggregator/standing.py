"""What is kept of a device between rounds, and when its letters say that it is not the only one with its key.

A device writes how often it has taken part, and how often it was started, before it says so: neither number goes back
when it loses power, whenever that is. A restored old state folder, and a copy on another board, make them go back.
See docs/protocol.md, section 17.
"""

from dataclasses import dataclass, replace

from accord.errors import Refusal
from accord.wire.check_in import CheckIn
from accord.wire.messages import Certificate

SEQUENCE_BACK, SEEN_TWICE = "SequenceBack", "SeenTwice"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One device: its newest certificate's serial and key, the highest numbers that it said under that key.

    `barred` is the name of the reason for which it takes part no more until it is enrolled anew, with another key.
    """

    serial: int
    identity: bytes  # public key, 32 bytes
    sequence: int
    birth: int
    barred: str = ""

    def joined(self, sequence: int) -> "Standing":
        """Return the standing after a JOIN: before it left, the device charged one participation more than it said."""
        return replace(self, sequence=max(self.sequence, sequence + 1))

    def bar(self, reason: str) -> "Standing":
        """Return the standing of a device that is barred; the first reason stays."""
        return self if self.barred else replace(self, barred=reason)


def after(known: Standing | None, message: CheckIn, certificate: Certificate) -> Standing:
    """Return where a device stands after a check-in for the attempt that is open.

    Args:
        known: where it stood; None if it never checked in.
        message: whose signature holds.
        certificate: that it showed, and which holds.

    Raises:
        Refusal: `OldSerial`, the certificate is one that a later enrolment has replaced; nothing changes.
    """
    fresh = Standing(
        serial=certificate.serial,
        identity=certificate.identity,
        sequence=message.sequence,
        birth=message.birth,
    )
    if known is None:
        return fresh
    if certificate.identity != known.identity:
        if certificate.serial <= known.serial:
            raise Refusal("OldSerial", f"{certificate.device} shows serial {certificate.serial} after {known.serial}")
        return fresh
    if message.sequence < known.sequence:
        return known.bar(SEQUENCE_BACK)
    if message.birth < known.birth:
        return known.bar(SEEN_TWICE)
    return replace(
        known,
        serial=max(known.serial, certificate.serial),
        sequence=message.sequence,
        birth=message.birth,
    )
