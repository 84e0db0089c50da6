"""The compressors that a plan may name: zlib, which every Python has, and zstd of the extra `[zstd]`."""

import zlib

from accord.errors import CodecError, Refusal, UsageError

try:
    import zstandard
except ImportError:  # pragma: no cover - what `available` is for
    zstandard = None  # type: ignore[assignment]

ZLIB, ZSTD = COMPRESSIONS = ("zlib", "zstd")
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)
"""Gaps and values repeat little: a table of their frequencies alone is often shorter."""
_LEVEL = 19
_PIECE = 256
_WINDOW = 1 << 23
"""Bytes that a zstd frame may ask a reader to hold: the format's own advice."""


def here() -> tuple[str, ...]:
    """Return the names of those that this machine has, sorted."""
    return COMPRESSIONS if zstandard is not None else (ZLIB,)


def check(name: str) -> None:
    """Refuse what this machine does not have.

    Raises:
        UsageError: with what to install.
    """
    if name not in here():
        raise UsageError(f"updates compressed with {name} need zstandard: pip install 'accord-fl[zstd]', or name zlib")


def compress(name: str, data: bytes) -> bytes:
    """Return the smallest stream that is found for `data`.

    Raises:
        UsageError: the compressor is not here.
    """
    check(name)
    if name == ZSTD:
        return zstandard.ZstdCompressor(level=_LEVEL).compress(data)
    found = []
    for strategy in _STRATEGIES:
        stream = zlib.compressobj(9, strategy=strategy)
        found.append(stream.compress(data) + stream.flush())
    return min(found, key=len)


def decompress(name: str, data: bytes, largest: int) -> bytes:
    """Return what one whole stream holds, and stop once it is more than `largest` bytes.

    Raises:
        Refusal: `OversizeUpdate`, it holds more.
        CodecError: it is no stream of this kind, or is cut short or followed by something.
        UsageError: the compressor is not here.
    """
    check(name)
    try:
        out, whole = _unzstd(data, largest) if name == ZSTD else _inflated(data, largest)
    except (zlib.error, _ZstdError) as error:
        raise CodecError(f"it is no {name} stream: {error}") from error
    if len(out) > largest:
        raise Refusal("OversizeUpdate", f"a part of the update holds more than {largest} bytes")
    if not whole:
        raise CodecError(f"its {name} stream is cut short, or something follows it")
    return out


_ZstdError: type[Exception] = zlib.error if zstandard is None else zstandard.ZstdError


def _inflated(data: bytes, largest: int) -> tuple[bytes, bool]:
    stream = zlib.decompressobj()
    out = stream.decompress(data, largest + 1)
    return out, stream.eof and not stream.unused_data


def _unzstd(data: bytes, largest: int) -> tuple[bytes, bool]:
    """Go piece by piece: a few bytes may hold a block of 128 kB, and what a frame says of its size may be a lie."""
    stream = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    out = bytearray()
    for at in range(0, len(data), _PIECE):
        if stream.eof:
            return bytes(out), False
        out += stream.decompress(data[at : at + _PIECE])
        if len(out) > largest:
            break
    return bytes(out), stream.eof and not stream.unused_data
