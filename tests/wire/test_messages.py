"""Letters: every record comes back, one changed byte is refused, and a signature binds all that it names."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import cbor
from accord.errors import CodecError, SignatureError
from accord.records import Flag, Int, Kind, Many, Name, Nested, Octets, OneOf, Record, Sized, Text
from accord.signing import SigningKey
from accord.wire import chunks
from accord.wire.check_in import CheckIn
from accord.wire.chunks import Manifest
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, TAGS, Revocations, opened
from accord.wire.secure_sum import Join, Survivors
from accord.wire.versions import CohortRoot, Version

KEY = SigningKey(b"k" * 32)


def of_kind(  # noqa: PLR0911 - one return per kind
    kind: Kind,
) -> st.SearchStrategy[object]:
    match kind:
        case Int():
            return st.integers(kind.low, kind.high)
        case Flag():
            return st.booleans()
        case Octets():
            return st.binary(min_size=kind.low, max_size=min(kind.low + 20, kind.high or kind.low))
        case Sized():
            return st.sampled_from([bytes(size) for size in kind.sizes])
        case Name():
            return st.from_regex(r"\A[a-z0-9]([a-z0-9._-]{0,9}[a-z0-9])?\Z")
        case Text():
            return st.text(max_size=kind.high)
        case OneOf():
            return st.sampled_from(kind.words)
        case Many():
            return st.lists(of_kind(kind.kind), min_size=kind.low, max_size=kind.low + 3).map(tuple)
        case Nested():
            return of_record(kind.record)
        case _:
            raise AssertionError(kind)


def of_record(record: type[Record]) -> st.SearchStrategy[Record]:
    if record is CheckIn:
        kinds = {name: of_kind(kind) for name, kind in record.kinds()}
        named = kinds.pop("compressors").map(lambda found: tuple(sorted(set(found))))
        return st.builds(CheckIn, compressors=named, **kinds)
    if record is Revocations:
        serials = st.sets(st.integers(0, 99)).map(lambda found: tuple(sorted(found)))
        return st.builds(Revocations, version=st.integers(0, 9), serials=serials)
    if record is Manifest:
        return st.binary(max_size=100).map(chunks.manifest)
    if record is Version:
        return versions()
    return st.builds(record, **{name: of_kind(kind) for name, kind in record.kinds()})


@st.composite
def versions(draw: st.DrawFn) -> Version:
    """A version whose fields agree on its origin."""
    fields = {name: draw(of_kind(kind)) for name, kind in Version.kinds()}
    made, back = fields["origin"] == "round", fields["origin"] == "rollback"
    whole = st.binary(min_size=32, max_size=32)
    fields["parent"] = draw(whole)
    fields["plan"] = draw(whole) if made else b""
    fields["restored"] = draw(whole) if back else b""
    cohort = of_record(CohortRoot)
    fields["cohorts"] = tuple(draw(st.lists(cohort, min_size=1, max_size=2))) if made else ()
    return Version(**fields)


@pytest.mark.parametrize("tag", TAGS)
def test_every_message_comes_back_and_refuses_other_shapes(tag: str) -> None:
    @given(of_record(TAGS[tag]))
    def story(message: Record) -> None:
        wire = message.to_wire()
        assert type(message).decode(message.encode()) == message
        for bad in ([*wire, 0], wire[:-1], dict(enumerate(wire)) and {"fields": wire}, None):
            with pytest.raises(CodecError):
                type(message).decode(cbor.encode(bad))
        for at in range(len(wire)):
            with pytest.raises(CodecError):
                type(message).decode(cbor.encode([*wire[:at], {"other": 1}, *wire[at + 1 :]]))

    story()


def test_each_message_has_one_tag() -> None:
    assert len(TAG_OF) == len(TAGS)


@pytest.mark.parametrize("name", ["tag", "sender", "recipient", "context", "payload", "signature"])
def test_a_changed_field_breaks_the_signature(name: str) -> None:
    letter = seal("survivors/1", b"payload", key=KEY, sender="aggregator", recipient="c1", context=b"c" * 32)
    letter.check(KEY.public)
    other = {
        "tag": "x/1",
        "sender": "a",
        "recipient": "b",
        "context": bytes(32),
        "payload": b"",
        "signature": bytes(64),
    }
    with pytest.raises(SignatureError):
        dataclasses.replace(letter, **{name: other[name]}).check(KEY.public)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_flipped_byte_on_the_way_is_refused(at: int, change: int) -> None:
    payload = Survivors(survivors=b"\x07").encode()
    data = bytearray(seal("survivors/1", payload, key=KEY, sender="aggregator", recipient="c1").encode())
    data[at % len(data)] ^= change
    with pytest.raises((CodecError, SignatureError)):
        Envelope.decode(bytes(data)).check(KEY.public)


def test_a_letter_of_another_kind_is_refused_by_name() -> None:
    letter = seal("survivors/1", Survivors(survivors=b"\x07").encode(), key=KEY, sender="aggregator", recipient="c1")
    assert opened(letter, Survivors).survivors == b"\x07"
    with pytest.raises(CodecError, match="join/2"):
        opened(letter, Join)


def test_revocations_are_ascending() -> None:
    with pytest.raises(CodecError, match="ascending"):
        Revocations(version=1, serials=(2, 1))
