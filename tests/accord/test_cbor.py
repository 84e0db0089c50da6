"""CBOR: one encoding per value, and every other byte string is refused before anything is built."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import cbor
from accord.errors import CodecError, LocalProtocolError

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_every_value_comes_back(value: object) -> None:
    assert cbor.decode(cbor.encode(value), 100_000) == value


@given(st.binary(max_size=200))
def test_bytes_are_refused_or_are_the_one_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data, 200)
    except CodecError:
        return
    assert cbor.encode(value) == data


@given(values, st.integers(0, 400), st.integers(1, 255))
def test_one_changed_byte_never_gives_the_same_value(value: object, at: int, change: int) -> None:
    data = bytearray(cbor.encode(value))
    data[at % len(data)] ^= change
    try:
        other = cbor.decode(bytes(data), 100_000)
    except CodecError:
        return
    assert cbor.encode(other) != cbor.encode(value)


BAD = {
    "empty": "",
    "left_over": "0000",
    "four_gigabyte_bytes": "5affffffff",
    "four_gigabyte_array": "9affffffff",
    "huge_map": "bbffffffffffffffff",
    "long_number": "1800",
    "long_length": "5800",
    "indefinite_bytes": "5f41ff",
    "indefinite_array": "9fff",
    "unsorted_keys": "a2616201616101",
    "repeated_keys": "a2616101616101",
    "number_key": "a10101",
    "float": "f93c00",
    "undefined": "f7",
    "simple": "e0",
    "tag": "c249010000000000000000",
    "bad_utf8": "61ff",
    "too_negative": "3bffffffffffffffff",
    "too_deep": "81" * 40 + "00",
    "cut": "83010",
    "reserved": "1c",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_encodings_are_refused(name: str) -> None:
    with pytest.raises(CodecError):
        cbor.decode(bytes.fromhex(BAD[name][: len(BAD[name]) // 2 * 2]), 1000)


def test_size_is_checked_first() -> None:
    with pytest.raises(CodecError, match="at most 3"):
        cbor.decode(cbor.encode(b"four bytes"), 3)


@pytest.mark.parametrize("value", [1.5, 2**64, -(2**63) - 1, {1: 2}, object(), bytearray(b"x"), {"a": {1.0}}])
def test_values_outside_the_closed_set_are_a_bug_here(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        cbor.encode(value)


def test_library_alone_would_let_undefined_through() -> None:
    assert cbor2.dumps(cbor2.loads(b"\xf7"), canonical=True) == b"\xf7"


@pytest.mark.parametrize("count", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_an_array_of_encodings_is_the_encoding_of_the_array(count: int) -> None:
    assert cbor.array([cbor.encode(7)] * count) == cbor.encode([7] * count)


def one_encoding(data: bytes) -> bool:
    """Say by way of the library alone whether these bytes are the one encoding of a value of the closed set."""
    try:
        return cbor.encode(cbor2.loads(data)) == data
    except (cbor2.CBORDecodeError, LocalProtocolError, ValueError, TypeError, OverflowError):
        return False


@given(
    st.sampled_from([b"s", "s", "é"]),
    st.integers(20, 130),
    st.lists(st.sampled_from(["same", "longer", "number", "list"]), max_size=2),
    st.integers(1, 30),
    st.tuples(st.integers(0, 10_000), st.integers(0, 255)),
)
def test_strings_of_one_size_behind_one_another_are_looked_at_no_less(
    of: bytes | str, size: int, odd: list[str], count: int, change: tuple[int, int]
) -> None:
    other = {"same": of * size, "longer": of * (size + 1), "number": 7, "list": [of * size] * 12}
    value = [[of * size] * count + [other[kind] for kind in odd], [of * size] * count, b"end"]
    data = bytearray(cbor.encode(value))
    assert cbor.decode(bytes(data), 100_000) == value
    data[change[0] % len(data)] = change[1]
    for changed in (bytes(data), cbor.encode(value)[: change[0] % len(data)]):
        try:
            found = cbor.decode(changed, 100_000)
        except CodecError:
            assert not one_encoding(changed)
        else:
            assert cbor.encode(found) == changed


@pytest.mark.parametrize("spare", [0, 1])
def test_a_run_of_strings_counts_for_the_largest_number_of_items(spare: int) -> None:
    data = cbor.array([cbor.encode(bytes(24))] * (cbor.MAX_ITEMS - spare))  # the array is an item, too
    if spare:
        assert len(cbor.decode(data, len(data))) == cbor.MAX_ITEMS - 1
        return
    with pytest.raises(CodecError, match="more than"):
        cbor.decode(data, len(data))
