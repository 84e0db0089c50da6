"""Lies about open updates: cut short, of other sizes, places behind the last one, and streams without end."""

from collections.abc import Iterator

from golden_numbers import open_plan, sent_openly
from taped import Named

_START, _FIGURES = 9 + 4 * 2, 20
"""Where the gaps of a model of two tensors begin, and the bytes behind the values."""
_ZEROS = bytes.fromhex("78da636060000000030001")
"""A zlib stream of three zeros."""
_BOMB = bytes.fromhex("78da63601805a360140c")
"""The beginning of one of very many, short enough for a plan of three values."""


def cases() -> Iterator[Named]:
    """Yield the cases of an aggregator that reads one device's update of three values in four bits."""
    good = sent_openly()
    head, gaps, values, figures = (
        good[9:_START],
        good[_START : _START + 3],
        good[_START + 3 : -_FIGURES],
        good[-_FIGURES:],
    )

    def lie(flags: int = 0, count: int = 3, gaps: bytes = gaps, values: bytes = values, steps: bytes = head) -> bytes:
        numbers = count.to_bytes(4, "little") + len(gaps).to_bytes(4, "little")
        return bytes([flags]) + numbers + steps + gaps + values + figures

    assert good == lie()
    for name, about, data in (
        ("CorruptUpdate", "cut short", good[:-1]),
        ("CorruptUpdate", "nothing", b""),
        ("CorruptUpdate", "left-over bytes", lie(values=values + b"\x00")),
        ("CorruptUpdate", "unknown flags", lie(flags=4)),
        ("CorruptUpdate", "gaps that end behind the update", good[:5] + b"\xff\xff\xff\xff" + good[9:]),
        ("CorruptUpdate", "fewer places than values", lie(gaps=gaps[:-1])),
        ("CorruptUpdate", "a place behind the last one", lie(gaps=b"\x00\x01\x05")),
        ("CorruptUpdate", "a gap without an end", lie(gaps=gaps[:-1] + b"\x80")),
        ("CorruptUpdate", "a gap in a longer form", lie(gaps=b"\x00\x80\x00\x00")),
        ("CorruptUpdate", "a value of -8", lie(values=b"\x88\x08")),
        ("CorruptUpdate", "fill bits that are not zero", lie(values=values[:-1] + b"\xf1")),
        ("CorruptUpdate", "a step larger than any value", lie(steps=b"\x00\x80\x00\x00" + head[4:])),
        ("CorruptUpdate", "gaps that are not deflated", lie(flags=1)),
        ("CorruptUpdate", "a stream cut short", lie(flags=1, gaps=_ZEROS[:-1])),
        ("CorruptUpdate", "bytes behind a stream", lie(flags=1, gaps=_ZEROS + b"\x00")),
        ("OversizeUpdate", "more values than the plan asks for", lie(count=4, gaps=bytes(4))),
        ("OversizeUpdate", "a billion values", lie(count=1 << 30)),
        ("OversizeUpdate", "more bytes than the plan's largest", good + bytes(100)),
        ("OversizeUpdate", "gaps that inflate without end", lie(flags=1, gaps=_BOMB, values=b"")),
        ("OversizeUpdate", "values that inflate without end", lie(flags=2, values=_BOMB, gaps=b"\x00")),
    ):
        state = {"plan": open_plan().encode().hex()}
        yield name, {"about": about, "door": "update", "state": state, "feed": [data.hex()]}
