"""Objects in pieces: any order, any doubles, no lies."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accord.errors import CodecError, Refusal
from accord.wire import chunks


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 4 * chunks.CHUNK), st.randoms(use_true_random=False))
def test_pieces_in_any_order_make_the_object(size: int, order: object) -> None:
    data = bytes(i % 251 for i in range(size))
    wanted = chunks.manifest(data)
    assembler = chunks.Assembler(wanted, limit=size)
    indices = list(range(chunks.pieces(size))) * 2
    order.shuffle(indices)  # type: ignore[attr-defined]
    found = None
    for index in indices:
        assert index in chunks.missing(assembler.have, chunks.pieces(size)) or found is not None or indices.count(index)
        found = assembler.add(chunks.piece(data, wanted.object, index)) or found
    assert (found or b"") == data
    assert chunks.missing(assembler.have, chunks.pieces(size)) == []


def test_lies_are_refused_and_change_nothing() -> None:
    data = bytes(2 * chunks.CHUNK + 1)
    wanted = chunks.manifest(data)
    with pytest.raises(Refusal, match="TooLarge"):
        chunks.Assembler(wanted, limit=10)
    assembler = chunks.Assembler(wanted, limit=len(data))
    good = chunks.piece(data, wanted.object, 0)
    for reason, changes in [
        ("ForeignPiece", {"object": bytes(32)}),
        ("ForeignPiece", {"index": 3}),
        ("BadPiece", {"data": b"x"}),
    ]:
        with pytest.raises(Refusal, match=reason):
            assembler.add(dataclasses.replace(good, **changes))
    assert assembler.have == b"\x00"
    with pytest.raises(CodecError, match="pieces"):
        dataclasses.replace(wanted, size=5)
    other = chunks.Assembler(dataclasses.replace(wanted, object=bytes(32)), limit=len(data))
    for index in (0, 1):
        assert other.add(dataclasses.replace(chunks.piece(data, bytes(32), index))) is None
    with pytest.raises(Refusal, match="do not make"):
        other.add(chunks.piece(data, bytes(32), 2))
