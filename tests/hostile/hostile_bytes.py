"""Byte strings that nobody should send: valid encodings spoilt in the ways that break decoders, and noise."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import doors
from hypothesis import strategies as st

from accord.errors import Refusal

HEADS = tuple(
    bytes.fromhex(head)
    for head in (
        "5affffffff",  # 4 GB of bytes
        "7affffffff",  # of text
        "9affffffff",  # 2^32 entries
        "baffffffff",
        "5b8000000000000000",  # 2^63
        "7b8000000000000000",
        "9b8000000000000000",
        "bb8000000000000000",
        "9bffffffffffffffff",
        "3bffffffffffffffff",  # below -2^63
        "5f",  # indefinite
        "7f",
        "9f",
        "bf",
        "ff",
        "c2",  # tags: a big number, a date, a shared value, itself
        "c0",
        "d81c",
        "d9d9f7",
        "f93c00",  # floats: 1, NaN, infinity
        "fb7ff8000000000000",
        "fa7f800000",
        "f7",  # undefined
        "e0",
        "f818",
        "1c",  # reserved
        "1800",  # longer than it need be
        "590000",
        "81" * 40,  # deep
        "a16161" * 40,
        "9a0001869f",  # just under 100,000 entries
        "80",
        "a0",
        "60",
    )
)


FOREIGN = tuple(
    bytes.fromhex(item)
    for item in (
        "c249010000000000000000",  # 2^64 as a tagged big number
        "c349010000000000000000",
        "c1187b",  # a time
        "d81c80",  # a value to be shared, and a reference to one
        "d81d00",
        "d9010280",  # a set
        "d9d9f700",  # self-described
        "c482000a",  # a decimal fraction
        "d82550" + "00" * 16,  # a UUID
        "f90000",
        "fa7f800000",
        "fb7ff8000000000000",
        "f7",
        "f8ff",
        "e0",
    )
)
"""Whole values outside the closed set: they decode elsewhere, and are written again byte for byte."""


def vectors(name: str) -> Any:
    """Return the content of a golden file."""
    return json.loads((doors.FOLDER / f"{name}.json").read_text())["vectors"]


def _flip(data: bytes, at: int, bit: int, _head: bytes) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if data else data


def _cut(data: bytes, at: int, _bit: int, _head: bytes) -> bytes:
    return data[:at]


def _double(data: bytes, at: int, bit: int, _head: bytes) -> bytes:
    end = at + 1 + 4 * bit
    return data[:end] + data[at:end] + data[end:]


def _leave_out(data: bytes, at: int, bit: int, _head: bytes) -> bytes:
    return data[:at] + data[at + 1 + bit :]


def _put_in(data: bytes, at: int, _bit: int, head: bytes) -> bytes:
    return data[:at] + head + data[at:]


def _put_over(data: bytes, at: int, _bit: int, head: bytes) -> bytes:
    return data[:at] + head + data[at + len(head) :]


def _wrap(data: bytes, _at: int, bit: int, head: bytes) -> bytes:
    return b"\x81" * bit + head + data


MUTATIONS: tuple[Callable[[bytes, int, int, bytes], bytes], ...] = (
    _flip,
    _cut,
    _double,
    _leave_out,
    _put_in,
    _put_over,
    _wrap,
)


@st.composite
def spoilt(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return `valid` after one to four mutations; most of their places are near the heads at its start."""
    data = valid
    for _ in range(draw(st.integers(1, 4))):
        last = max(0, len(data) - 1)
        at = draw(st.integers(0, min(last, 40)) | st.integers(0, last))
        data = draw(st.sampled_from(MUTATIONS))(data, at, draw(st.integers(0, 7)), draw(st.sampled_from(HEADS)))
    return data


def hostile(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Return noise, heads with noise behind them, and spoilt encodings."""
    noise = st.binary(max_size=200)
    headed = st.tuples(st.sampled_from(HEADS), noise).map(b"".join)
    return st.sampled_from(valid).flatmap(spoilt) | noise | headed


def refused(step: Callable[[], object]) -> str:
    """Return the name with which `step` refuses, or nothing."""
    try:
        step()
    except Refusal as refusal:
        return refusal.reason
    return ""


def peak(step: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at once while `step` ran."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
