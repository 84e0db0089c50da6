"""Bundles and training graphs that are refused, each with the name of its refusal."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from recorded_fleet import KEYS, LAYOUT

from accord.bundle import archive, protobuf
from accord.bundle.entries import read_entries, write_entries
from accord.bundle.golden import make_golden
from accord.bundle.manifest import Specification
from accord.entropy import SeededEntropy
from accord.signing import SigningKey

PARAMS = np.linspace(-1, 1, LAYOUT.size, dtype=np.float32)


def good(key: SigningKey | None = KEYS.publisher) -> bytes:
    """Return a small bundle that is accepted."""
    specification = Specification(
        format=1,
        model="linear",
        tier="float",
        loss="softmax",
        input_shape=(2,),
        outputs=2,
        scaled=True,
        batch=4,
        opset=0,
        layout=LAYOUT,
        exponents=(0, 0),
        input_names=(),
        output_names=(),
    )
    golden = make_golden(
        specification,
        x=np.ones((1, 2), np.float32),
        y=np.zeros(1, np.int64),
        loss=0.5,
        outputs=np.zeros((1, 2), np.float32),
        gradient=PARAMS,
        entropy=SeededEntropy(0),
    )
    return archive.write_bundle(specification, params=PARAMS, golden=golden, signing_key=key)


def bundles() -> Iterator[tuple[str, str, bytes, dict[str, Any]]]:
    """Yield (refusal, what is wrong, bytes, state of the door)."""
    data = good()
    entries = read_entries(data, archive.NAMES)
    publisher = {"publisher": KEYS.publisher.public.hex()}
    yield "BundleTooLarge", "one byte more than the limit", data, {"limit": len(data) - 1}
    yield "CorruptBundle", "nothing at all", b"", {}
    yield "CorruptBundle", "the last byte is missing", data[:-1], {}
    yield "CorruptBundle", "a size of four gigabytes", data[:18] + b"\xff" * 8 + data[26:], {}
    yield "CorruptBundle", "a manifest that is not CBOR", write_entries({**entries, "manifest.cbor": b"\xff"}), {}
    yield "CompressedEntry", "an entry that would have to be inflated", data[:8] + b"\x08" + data[9:], {}
    yield "UnknownEntry", "a name that leads out of the folder", write_entries({"../params.bin": b"x", **entries}), {}
    yield "UnknownEntry", "a part that the manifest does not name", write_entries({**entries, "train.onnx": b"x"}), {}
    twice = write_entries({**entries, "golden.cbos": b"x"}).replace(b"golden.cbos", b"golden.cbor")
    yield "RepeatedEntry", "a name that stands twice", twice, {}
    for name in ("manifest.cbor", "params.bin"):
        rest = {other: part for other, part in entries.items() if other != name}
        yield "MissingEntry", f"no {name}", write_entries(rest), {}
    yield "UnsignedBundle", "no signature where one is asked for", good(key=None), publisher
    yield "BadSignature", "signed by somebody else", good(KEYS.aggregator), publisher
    yield (
        "DigestMismatch",
        "other parameters",
        write_entries({**entries, "params.bin": bytes(4 * LAYOUT.size)}),
        publisher,
    )


def _field(number: int, *parts: bytes) -> bytes:
    return protobuf.write_field(number, protobuf.BYTES, b"".join(parts))


def graph(operator: bytes) -> bytes:
    """Return a graph of one operator."""
    return _field(7, _field(1, _field(4, operator)))


def graphs() -> Iterator[tuple[str, str, bytes]]:
    """Yield (refusal, what is wrong, bytes)."""
    node = _field(4, b"Relu")
    yield "ForbiddenOperator", "a loop", graph(b"Loop")
    yield "ForbiddenDomain", "an operator of another domain", _field(7, _field(1, node, _field(7, b"com.microsoft")))
    yield (
        "ForbiddenDomain",
        "a set of operators of another domain",
        _field(8, _field(1, b"custom")) + _field(7, _field(1, node)),
    )
    yield "ForbiddenGraph", "functions of its own", _field(7, _field(1, node)) + _field(25, b"function")
    yield "ForbiddenGraph", "an attribute that holds a graph", _field(7, _field(1, node, _field(5, _field(6, b""))))
    yield "ExternalData", "a tensor in another file", _field(7, _field(1, node), _field(5, _field(13, b"location")))
    yield "CorruptGraph", "no operator", _field(7, _field(2, b"empty"))
    yield "CorruptGraph", "a length behind the end", b"\x3a\xff\xff\xff\xff\x0f"
    yield "CorruptGraph", "a number without an end", b"\xff" * 11
    yield "CorruptGraph", "an unknown wire type", b"\x3b"
