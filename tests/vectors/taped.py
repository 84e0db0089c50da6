"""The recordings that lies are told in, letters that could have stood in them, and the two forms of a case."""

import dataclasses
from typing import Any

from recorded_fleet import IDENTITIES, KEYS, Entry, record

from accord.records import Record
from accord.signing import SigningKey
from accord.wire.envelope import NO_CONTEXT, Envelope, seal
from accord.wire.messages import TAG_OF, TAGS

Case = dict[str, Any]
Named = tuple[str, Case]
STRANGER = SigningKey(b"s" * 32)


class Tape:
    """A recording, and the letters that could have stood in it."""

    def __init__(self, name: str, entries: list[Entry]) -> None:
        self.name, self.entries = name, entries

    def place(self, tag: str, who: str) -> int:
        """Return the place of the first letter of a tag that `who` sent or, being a device, got."""
        for at, entry in enumerate(self.entries):
            if who in (entry.get("from"), entry.get("to")) and self.letter(at).tag == tag:
                return at
        raise LookupError(f"{self.name} holds no {tag} of {who}")

    def letter(self, at: int) -> Envelope:
        """Return the letter in one place."""
        return Envelope.decode(bytes.fromhex(self.entries[at]["data"]))

    def find(self, tag: str, who: str) -> Envelope:
        """Return the first letter of a tag that `who` sent or got."""
        return self.letter(self.place(tag, who))

    def to_aggregator(self, start: int) -> list[Entry]:
        """Return the entries from one place on that reach the aggregator."""
        return [entry for entry in self.entries[start:] if entry.get("to", "aggregator") == "aggregator"]


MASKED = Tape("cohort", record({"dev-03": "masked/1"}))
STRICT = Tape("cohort_strict", record({"dev-03": "masked/1"}, profile="strict"))
OFF = Tape("cohort_off", record(profile="off"))


def again(letter: Envelope, key: SigningKey | None = None, **changes: Any) -> bytes:
    """Return a letter with other fields of its message (or of itself: `recipient`, `context`), signed anew."""
    outside = {name: changes.pop(name, getattr(letter, name)) for name in ("sender", "recipient", "context")}
    body = TAGS[letter.tag].decode(letter.payload)
    if changes:
        body = dataclasses.replace(body, **changes)
    if key is None:
        key = KEYS.aggregator if outside["sender"] == "aggregator" else IDENTITIES[letter.sender]
    return seal(letter.tag, body.encode(), key=key, **outside).encode()


def signed(body: Record, recipient: str, context: bytes = NO_CONTEXT) -> bytes:
    """Return a letter of the aggregator."""
    return seal(
        TAG_OF[type(body)],
        body.encode(),
        key=KEYS.aggregator,
        sender="aggregator",
        recipient=recipient,
        context=context,
    ).encode()


def to_device(about: str, place: int, *feed: bytes, tape: Tape = MASKED, **state: Any) -> Case:
    """Return a case at dev-00's session after the entries before `place`."""
    return {
        "about": about,
        "door": "device",
        "state": {"name": "dev-00", "after": [tape.name, place], **state},
        "feed": [data.hex() for data in feed],
    }


def to_aggregator(
    about: str, place: int, *feed: Entry | bytes, sender: str = "dev-00", tape: Tape = MASKED, **asked: Any
) -> Case:
    """Return a case at the coordinator after the entries before `place`; bytes are from `sender`."""
    entries = [
        {"from": sender, "to": "aggregator", "data": one.hex()} if isinstance(one, bytes) else one for one in feed
    ]
    return {"about": about, "door": "aggregator", "state": {"after": [tape.name, place], **asked}, "feed": entries}
