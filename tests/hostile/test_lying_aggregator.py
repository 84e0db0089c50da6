"""An aggregator that lies: one name for each lie, and no field or byte of its letters that nobody would miss."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import doors
import pytest
from lies_of_the_aggregator import DOORS, LIES, NO_LIES, table
from recorded_fleet import KEYS, Device, reached
from taped import MASKED
from told_lie import Lie

from accord import cbor
from accord.errors import AccordError
from accord.plan import Plan
from accord.records import Many, Nested, Record
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAGS

THREATS = Path(__file__).parents[2] / "docs" / "threats.md"
ME = "dev-00"


def vectors(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((doors.FOLDER / f"bad_{name}.json").read_text())
    return [case for case in found if case["door"] in DOORS]


def test_the_rows_are_the_vectors_and_the_vectors_are_the_rows() -> None:
    told = Counter((lie.refusal, about) for lie in LIES for about in lie.vectors)
    names = [path.stem.removeprefix("bad_") for path in doors.FOLDER.glob("bad_*.json")]
    there = {(name, case["about"]) for name in names for case in vectors(name)}
    assert max(told.values()) == 1, "a vector stands in one row"
    assert len({lie.lie for lie in LIES}) == len(LIES) >= 60
    assert set(told) | NO_LIES == there, "say in tests/hostile/lies_of_the_aggregator.py which lie a vector tells"


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.lie)
def test_each_lie_is_refused_by_its_own_name_and_by_nothing_else(lie: Lie) -> None:
    cases = [case for case in vectors(lie.refusal) if case["about"] in lie.vectors]
    assert len(cases) >= len(lie.vectors)
    for case in cases:
        assert doors.answer(case) == [lie.refusal], case["about"]


def test_the_page_shows_every_row() -> None:
    shown = THREATS.read_text().partition("<!-- lies -->\n")[2].partition("<!-- end of lies -->")[0]
    assert shown.strip() == table().strip(), "put the output of tests/hostile/lies_of_the_aggregator.py there"


# What follows changes what was recorded: without a new signature at every byte, with one in every field.

TO_ME = [at for at, entry in enumerate(MASKED.entries) if entry.get("to") == ME]
ONE_OF_EACH = {MASKED.letter(at).tag: at for at in reversed(TO_ME)}


@pytest.mark.parametrize("tag", ONE_OF_EACH)
def test_no_byte_of_a_letter_can_be_changed(tag: str) -> None:
    place = ONE_OF_EACH[tag]
    party, honest = reached(ME, MASKED.entries[:place]), bytes.fromhex(MASKED.entries[place]["data"])
    assert isinstance(party, Device)
    for at in range(len(honest)):
        spoilt = honest[:at] + bytes([honest[at] ^ 1 << at % 8]) + honest[at + 1 :]
        sent, refused = party.feed(spoilt)
        assert (sent, len(refused)) == ([], 1), at
        assert refused[0] in {"BadSignature", "BadMessage", "Foreign"}, (at, refused)
    for spoilt in (honest[:-1], honest + b"\x00", b"", honest * 2):
        assert party.feed(spoilt) == ([], ["BadMessage"])
    sent, refused = party.feed(honest)
    assert refused == []
    assert bool(sent) is (tag != "result/1"), "what was refused has changed nothing"


FREE = {
    "Opening.bundle_size": "of an object that is known by its digest",
    "Opening.params_size": "the same",
    "Offer.now": "the aggregator's clock: certificates and the plan must hold then",
    "Result.reason": "the name of an abort",
    "Result.transcript": "of a round that the next plan must name",
}
"""Fields of the aggregator's letters that it may choose for one device alone, and why that tells it nothing.

A changed field of the plan is not among them: ctx1 binds the plan's bytes, so no other device's JOIN holds.
"""


def altered(item: Any) -> Iterator[Any]:
    """Yield other values of the same type, near ones and far ones."""
    if isinstance(item, bool):
        yield not item
    elif isinstance(item, int):
        yield from (item + 1, item - 1, 0, 2 * item + 7)
    elif isinstance(item, bytes):
        yield from (bytes([item[0] ^ 1]) + item[1:], item[:-1], item + b"\x00") if item else (b"\x01",)
    elif isinstance(item, str):
        yield from ("a", "b", "")


def changed(value: list[Any], kind: type[Record]) -> Iterator[tuple[str, list[Any]]]:
    """Yield (field, encoding) for each field of a record and of the records in it, at all depths, with other values."""
    for at, ((name, form), item) in enumerate(zip(kind.kinds(), value, strict=True)):
        where = f"{kind.__name__}.{name}"
        inner: Iterator[tuple[str, Any]]
        if kind.__name__ == "Offer" and name == "plan":
            inner = ((field, cbor.encode(found)) for field, found in changed(cbor.decode(item, len(item)), Plan))
        elif isinstance(form, Nested):
            inner = changed(item, form.record)
        elif isinstance(form, Many):
            inner = _in_list(item, form, where)
        else:
            inner = ((where, other) for other in altered(item))
        for field, other in inner:
            if other != item:
                yield field, [*value[:at], other, *value[at + 1 :]]


def _in_list(items: list[Any], form: Many, where: str) -> Iterator[tuple[str, list[Any]]]:
    yield from ((where, found) for found in (items[:-1], items[1:], items[::-1], [*items, *items[:1]]))
    for at, item in enumerate(items):
        inner = (
            changed(item, form.kind.record) if isinstance(form.kind, Nested) else ((where, x) for x in altered(item))
        )
        for field, other in inner:
            yield field, [*items[:at], other, *items[at + 1 :]]


@pytest.mark.parametrize("tag", ONE_OF_EACH)
def test_no_field_can_be_changed_and_signed_anew(tag: str) -> None:
    """The aggregator signs a letter with one other field: a device that takes it never comes to answer."""
    place = ONE_OF_EACH[tag]
    letter, rest = MASKED.letter(place), [at for at in TO_ME if at > place]
    body = cbor.decode(letter.payload, len(letter.payload))
    honest = {at: Envelope.decode(bytes.fromhex(MASKED.entries[at]["data"])) for at in rest}
    tried: Counter[str] = Counter()
    taken = set()
    for field, other in changed(body, TAGS[tag]):
        party = reached(ME, MASKED.entries[:place])
        assert isinstance(party, Device)
        try:
            payload = cbor.encode(other)
        except AccordError:  # a number that has no encoding
            continue
        data = seal(
            tag, payload, key=KEYS.aggregator, sender="aggregator", recipient=letter.recipient, context=letter.context
        )
        sent, refused = party.feed(data.encode())
        for at in rest:
            more = party.feed(honest[at].encode())
            sent, refused = sent + more[0], refused + more[1]
        answered = any(Envelope.decode(one).tag == "unmask/1" for one in sent)
        tried[field] += 1
        if not refused or (answered and tag != "result/1"):
            taken.add(field)
    assert taken == {field for field in FREE if field in tried}
    assert len(tried) >= len(body)
