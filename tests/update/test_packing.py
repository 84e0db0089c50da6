"""Packing: every width fills its bytes as the page says, comes back, and refuses what is not its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.errors import CodecError
from accord.update import packing

LENGTHS = st.one_of(st.integers(0, 70), st.integers(32_760, 32_780), st.just(70_001))
"""Around one group of eight, and around one piece."""


def bit_by_bit(values: np.ndarray, bits: int) -> bytes:
    """What section 8.5 says, one bit after the other."""
    ones = (values[:, None].astype(np.uint64) >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)
    return np.packbits(ones.astype(np.uint8).ravel(), bitorder="little").tobytes()


@given(st.integers(1, 32), LENGTHS, st.integers(0, 2**32))
def test_every_width_is_packed_without_gaps_and_comes_back(bits: int, length: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 2**32, length, dtype=np.uint32)
    data = packing.pack(values, bits)
    assert data == bit_by_bit(values, bits)
    assert len(data) == packing.packed_size(length, bits)
    found = packing.unpack(data, length, bits)
    assert found.dtype == np.uint32
    assert (found == (values.astype(np.uint64) & np.uint64(2**bits - 1))).all()


@given(st.integers(1, 32), st.integers(1, 70))
def test_other_lengths_and_bits_behind_the_end_are_refused(bits: int, length: int) -> None:
    data = packing.pack(np.zeros(length, np.uint32), bits)
    for wrong in (data[:-1], data + b"\x00"):
        with pytest.raises(CodecError, match="bytes"):
            packing.unpack(wrong, length, bits)
    if length * bits % 8:
        with pytest.raises(CodecError, match="fill bits"):
            packing.unpack(data[:-1] + b"\x80", length, bits)
