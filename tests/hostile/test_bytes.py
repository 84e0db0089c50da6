"""Hostile bytes at every decoder: refused, or the one encoding of a value; memory stays bounded."""

import math
from collections.abc import Callable

import bundle_lies
import pytest
from hostile_bytes import FOREIGN, HEADS, hostile, peak, refused, vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_fleet import KEYS, unfolded

from accord import cbor
from accord.bundle.archive import read_bundle
from accord.bundle.golden import Golden
from accord.bundle.manifest import Manifest as BundleManifest
from accord.bundle.operators import check_operators
from accord.errors import CodecError, Refusal, SignatureError
from accord.plan import Plan
from accord.records import Record
from accord.secagg.authority import trusted_roles
from accord.signing import SigningKey
from accord.update import packing
from accord.wire.chunks import Assembler, Manifest, Piece
from accord.wire.envelope import Envelope
from accord.wire.messages import TAGS, Revocations
from accord.wire.secure_sum import Roster, Share
from accord.wire.versions import Figure, figures_of

LETTERS = vectors("messages")["letters"]
OF_TAG = {tag: [bytes.fromhex(case["payload"]) for case in LETTERS if case["tag"] == tag] for tag in TAGS}
PLAN = bytes.fromhex(vectors("plan")["plan"])
PIECES = vectors("pieces")
RECORDED = [bytes.fromhex(entry["data"]) for entry in unfolded(vectors("cohort")["entries"]) if "data" in entry]
BUNDLE = bundle_lies.good()
OTHERS: dict[type[Record], list[bytes]] = {
    Plan: [PLAN],
    Piece: [bytes.fromhex(PIECES["piece"])],
    Envelope: RECORDED,
}
RECORDS: dict[type[Record], list[bytes]] = {**{TAGS[tag]: payloads for tag, payloads in OF_TAG.items()}, **OTHERS}


def allowed(size: int) -> int:
    """Return the memory that decoding `size` bytes may take: a few copies, and what one empty list per byte takes."""
    return 20_000 + 12 * size + 160 * min(size, cbor.MAX_ITEMS)


def decoded(decode: Callable[[bytes], object], data: bytes) -> object:
    """Return what `data` holds, or None if it is refused as it should be."""
    try:
        return decode(data)
    except CodecError:
        return None


@settings(max_examples=400, deadline=None)
@given(hostile(*RECORDED, PLAN))
def test_cbor_is_refused_or_is_the_one_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data, 1 << 20)
    except CodecError:
        return
    assert cbor.encode(value) == data


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_is_refused_or_is_the_one_encoding(record: type[Record]) -> None:
    @settings(max_examples=150, deadline=None)
    @given(hostile(*RECORDS[record]))
    def story(data: bytes) -> None:
        found = decoded(record.decode, data)
        if found is not None:
            assert isinstance(found, record)
            assert found.encode() == data

    story()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_refuses_each_head_in_each_of_its_places(record: type[Record]) -> None:
    smallest = min(RECORDS[record], key=len)[:120]
    for at in range(len(smallest)):
        for head in HEADS:
            data = smallest[:at] + head + smallest[at:]
            found = decoded(record.decode, data)
            assert found is None or (isinstance(found, record) and found.encode() == data)


@pytest.mark.parametrize("item", FOREIGN, ids=lambda item: item.hex())
def test_no_value_outside_the_closed_set_stands_anywhere(item: bytes) -> None:
    for data in (item, b"\x81" + item, b"\x82\x00" + item, b"\xa1\x61a" + item):
        with pytest.raises(CodecError):
            cbor.decode(data, 1_000)
    for record, payloads in RECORDS.items():
        fields = [cbor.encode(value) for value in cbor.decode(payloads[0], 1 << 20)]
        head = cbor.encode([None] * len(fields))[:1]
        for at in range(len(fields)):
            with pytest.raises(CodecError):
                record.decode(head + b"".join([*fields[:at], item, *fields[at + 1 :]]))


@settings(max_examples=300, deadline=None)
@given(hostile(*RECORDED))
def test_no_spoilt_letter_keeps_its_signature(data: bytes) -> None:
    keys = [KEYS.aggregator.public, *(SigningKey(bytes.fromhex(d["identity"])).public for d in DEVICES.values())]
    letter = decoded(Envelope.decode, data)
    if isinstance(letter, Envelope) and data not in RECORDED:
        for key in keys:
            with pytest.raises(SignatureError):
                letter.check(key)


DEVICES = vectors("cohort")["devices"]


@settings(max_examples=200, deadline=None)
@given(hostile(bytes.fromhex(vectors("cohort")["roles"])))
def test_no_spoilt_roles_document_is_trusted(data: bytes) -> None:
    reason = refused(lambda: trusted_roles(data, KEYS.root.public, "t", now=1_000, seen=0))
    assert reason == ("" if data == KEYS.roles() else "NotTheRoot")


@settings(max_examples=300, deadline=None)
@given(hostile(BUNDLE))
def test_no_spoilt_bundle_is_opened(data: bytes) -> None:
    for publisher in (None, KEYS.publisher.public):
        reason = refused(lambda key=publisher: read_bundle(data, publisher=key))
        assert bool(reason) == (data != BUNDLE)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_spoilt_parts_of_a_bundle_are_refused(data: st.DataObject) -> None:
    _, _, bad, _ = next(lie for lie in bundle_lies.bundles() if lie[0] == "BundleTooLarge")
    entries = bundle_lies.read_entries(bad, bundle_lies.archive.NAMES)
    for record, name in ((BundleManifest, "manifest.cbor"), (Golden, "golden.cbor")):
        spoilt = data.draw(hostile(entries[name]))
        found = decoded(record.decode, spoilt)
        assert found is None or (isinstance(found, record) and found.encode() == spoilt)


GRAPHS = [lie[2] for lie in bundle_lies.graphs()]


@settings(max_examples=300, deadline=None)
@given(hostile(*GRAPHS, bundle_lies.graph(b"Relu")))
def test_graphs_are_refused_or_hold_listed_operators(data: bytes) -> None:
    reason = refused(lambda: check_operators(data))
    assert reason in {"ForbiddenOperator", "ForbiddenDomain", "ForbiddenGraph", "ExternalData", "CorruptGraph"} or (
        not reason and check_operators(data) > 0
    )


CLAIMS = [head for head in HEADS if len(head) >= 5]


@pytest.mark.parametrize("head", CLAIMS, ids=lambda head: head.hex()[:20])
@pytest.mark.parametrize("behind", [0, 10_000])
def test_a_claim_takes_no_memory(head: bytes, behind: int) -> None:
    data = head + bytes(behind)
    assert peak(lambda: decoded(lambda d: cbor.decode(d, 1 << 20), data)) < allowed(len(data))
    for record in RECORDS:
        assert peak(lambda r=record: decoded(r.decode, data)) < allowed(len(data))


DENSE = {
    "lists": b"\x80",
    "maps": b"\xa0",
    "numbers": b"\x00",
    "bytes": b"\x40",
    "text": b"\x61x",
    "pairs": b"\x82\x80\x80",
    "large_numbers": b"\x1b" + b"\xff" * 8,
}


def dense(name: str, count: int) -> bytes:
    return b"\x99" + count.to_bytes(2, "big") + DENSE[name] * count


@pytest.mark.parametrize("name", DENSE)
def test_memory_is_bounded_by_what_came(name: str) -> None:
    for count in (300, 2_000):
        data = dense(name, count)
        assert peak(lambda d=data: cbor.decode(d, 1 << 20)) < allowed(len(data))
        for record in (Envelope, Plan, Roster, Revocations, Share):
            assert peak(lambda r=record, d=data: decoded(r.decode, d)) < allowed(len(data))


def test_more_items_than_any_message_has_are_refused_before_they_are_built() -> None:
    many = b"\x9a" + (150_000).to_bytes(4, "big") + b"\x80" * 150_000
    assert peak(lambda: decoded(lambda data: cbor.decode(data, 1 << 20), many)) < 20_000
    just = dense("lists", 60_000)
    assert 20_000 < peak(lambda: cbor.decode(just, 1 << 20)) < allowed(len(just))


@settings(max_examples=100, deadline=None)
@given(hostile(*RECORDED, PLAN, *(payload for payloads in RECORDS.values() for payload in payloads)))
def test_memory_is_bounded_for_whatever_comes(data: bytes) -> None:
    for record in RECORDS:
        assert peak(lambda r=record: decoded(r.decode, data)) < allowed(len(data))


@settings(max_examples=100, deadline=None)
@given(hostile(BUNDLE))
def test_memory_is_bounded_for_bundles(data: bytes) -> None:
    assert peak(lambda: refused(lambda: read_bundle(data))) < 60_000 + allowed(len(data))


def test_an_object_is_assembled_from_what_came_and_not_from_what_was_claimed() -> None:
    wanted = Manifest(object=bytes(32), size=60_000 * 16_384, hashes=(bytes(32),) * 16_384)

    def lie() -> None:
        assembler = Assembler(wanted, wanted.size)
        with pytest.raises(Refusal, match="BadPiece"):
            assembler.add(Piece(object=bytes(32), index=16_383, data=b"x"))
        assert len(assembler.have) == 2_048

    assert peak(lie) < 200_000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**28), st.integers(1, 32))
def test_a_packed_vector_of_another_length_takes_no_memory(data: bytes, length: int, bits: int) -> None:
    def lie() -> None:
        try:
            values = packing.unpack(data, length, bits)
        except CodecError:
            return
        assert packing.pack(values, bits) == data

    assert peak(lie) < 20_000 + 200 * len(data)


def test_the_longest_lists_that_can_be_built_can_be_read() -> None:
    most = dict(Revocations.kinds())["serials"].high  # type: ignore[attr-defined]
    longest = Revocations(version=1, serials=tuple(range(2**32 - most, 2**32)))
    assert Revocations.decode(longest.encode()) == longest
    large = Manifest(object=bytes(32), size=60_000 * 16_384, hashes=(bytes(32),) * 16_384)
    assert Manifest.decode(large.encode()) == large


def test_every_figure_that_can_be_read_is_a_number() -> None:
    kinds = dict(Figure.kinds())
    for mantissa in (kinds["mantissa"].low, 0, kinds["mantissa"].high):  # type: ignore[attr-defined]
        for exponent in (kinds["exponent"].low, kinds["exponent"].high):  # type: ignore[attr-defined]
            value = Figure(name="loss", mantissa=mantissa, exponent=exponent).value
            assert math.isfinite(value)
            assert figures_of({"loss": value})[0].value == value
