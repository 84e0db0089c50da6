"""Names on the wire: checked once, then plain strings. Holds no lists of who exists."""

import re

from accord.errors import CodecError

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
"""One topic level: 1 to 64 characters, no `/`, `+`, `#`, no upper case (brokers disagree about case)."""

AGGREGATOR = "aggregator"
"""The sender and recipient name of the aggregator in envelopes; no device may bear it."""


def checked_name(text: str, what: str) -> str:
    """Return `text` if it can stand in a topic and an envelope.

    Args:
        text: the name.
        what: the noun for the error, such as "device id".

    Raises:
        CodecError: the name has a character, a length or a shape that is not allowed.
    """
    if NAME.fullmatch(text) is None:
        raise CodecError(
            f"{what} {text[:80]!r} is not a name: use 1 to 64 characters of a-z, 0-9, '.', '_' and '-', "
            "with a letter or digit first and last",
        )
    return text


def checked_device(text: str) -> str:
    """Return `text` if a device may bear it as its id.

    Raises:
        CodecError: it is no name, or it is the aggregator's.
    """
    if checked_name(text, "device id") == AGGREGATOR:
        raise CodecError(f"device id {text!r} is reserved: choose another")
    return text
