"""A bundle file is hostile until proven otherwise: one named refusal per rule, and nothing else gets through."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord import cbor
from accord.bundle import archive
from accord.bundle.archive import read_bundle, write_bundle
from accord.bundle.entries import read_entries, write_entries
from accord.bundle.golden import Golden, make_golden
from accord.bundle.manifest import Manifest, Part, Specification
from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal
from accord.prg import digest
from accord.signing import SigningKey
from accord.tensors import Layout

LAYOUT = Layout((("w", (3, 2)), ("b", (2,))))
PARAMS = np.linspace(-1, 1, 8, dtype=np.float32)
KEY = SigningKey(bytes(range(32)))


def specification(**changes: Any) -> Specification:
    fields: dict[str, Any] = {
        "format": 1,
        "model": "linear",
        "tier": "float",
        "loss": "softmax",
        "input_shape": (3,),
        "outputs": 2,
        "scaled": True,
        "batch": 8,
        "opset": 0,
        "layout": LAYOUT,
        "exponents": (0, -1),
        "input_names": (),
        "output_names": (),
    }
    return Specification(**{**fields, **changes})


def golden(spec: Specification) -> Golden:
    return make_golden(
        spec,
        x=np.ones((2, 3), np.float32),
        y=np.array([0, 1]),
        loss=0.5,
        outputs=np.zeros((2, 2), np.float32),
        gradient=PARAMS,
        entropy=SeededEntropy(0),
    )


def bundle(key: SigningKey | None = KEY) -> bytes:
    spec = specification()
    return write_bundle(spec, params=PARAMS, golden=golden(spec), signing_key=key)


def refused(data: bytes, reason: str, **arguments: Any) -> None:
    with pytest.raises(Refusal) as caught:
        read_bundle(data, **arguments)
    assert caught.value.reason == reason, caught.value


def entries_of(data: bytes) -> dict[str, bytes]:
    return read_entries(data, archive.NAMES)


def resealed(entries: dict[str, bytes], key: SigningKey | None = None) -> bytes:
    """Make the manifest fit changed parts, as a dishonest publisher would."""
    old = Manifest.decode(entries["manifest.cbor"])
    parts = tuple(Part(name=p.name, size=len(entries[p.name]), digest=digest(entries[p.name])) for p in old.parts)
    fields = {name: getattr(old, name) for name, _ in Manifest.kinds()}
    manifest = Manifest(**{**fields, "parts": parts}).encode()
    changed = {**entries, "manifest.cbor": manifest}
    changed.pop("signature.bin", None)
    if key is not None:
        changed["signature.bin"] = key.sign(b"accord/1/bundle" + digest(manifest))
    return write_entries(changed)


def test_what_was_written_is_read() -> None:
    data = bundle()
    found = read_bundle(data, publisher=KEY.public)
    assert found.digest == digest(data)
    assert found.train is None
    assert np.array_equal(found.params, PARAMS)
    assert not found.params.flags.writeable
    assert found.manifest.layout == LAYOUT
    assert found.golden == golden(specification())
    assert bundle() == data, "the same bundle must have the same bytes"


def test_any_zip_tool_can_look_inside() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle())) as file:
        assert file.testzip() is None
        assert file.namelist() == ["manifest.cbor", "params.bin", "golden.cbor", "signature.bin"]
        assert file.read("params.bin") == PARAMS.tobytes()


def test_too_large() -> None:
    data = bundle()
    refused(data, "BundleTooLarge", limit=len(data) - 1)
    read_bundle(data, limit=len(data))


def test_a_zip_of_another_tool() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, data in entries_of(bundle()).items():
            file.writestr(name, data)
    refused(target.getvalue(), "CorruptBundle")


def test_a_zip_bomb_is_never_inflated() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("params.bin", bytes(50_000_000))
    assert len(target.getvalue()) < 100_000
    refused(target.getvalue(), "CompressedEntry")


def test_a_size_of_four_gigabytes() -> None:
    data = bytearray(bundle())
    struct.pack_into("<2L", data, 18, 2**32 - 1, 2**32 - 1)
    refused(bytes(data), "CorruptBundle")


def test_bytes_before_behind_and_between() -> None:
    data = bundle()
    for broken in (data + b"\0", b"\0" + data, data[:-1], data[:40], b"", data[:20] + data[21:]):
        refused(broken, "CorruptBundle")


@pytest.mark.parametrize("name", ["../params.bin", "params.bin/", "PARAMS.BIN", "evil.pkl", "/etc/passwd"])
def test_an_unknown_name(name: str) -> None:
    refused(write_entries({**entries_of(bundle()), name: b"x"}), "UnknownEntry")


def test_a_part_that_the_manifest_does_not_name() -> None:
    refused(write_entries({**entries_of(bundle()), "train.onnx": b"x"}), "UnknownEntry")


def test_a_repeated_name() -> None:
    data = write_entries({**entries_of(bundle()), "golden.cbos": b"x"})
    refused(data.replace(b"golden.cbos", b"golden.cbor"), "RepeatedEntry")


@pytest.mark.parametrize("name", ["manifest.cbor", "params.bin", "golden.cbor"])
def test_a_missing_part(name: str) -> None:
    entries = entries_of(bundle())
    del entries[name]
    refused(write_entries(entries), "MissingEntry")


def test_signatures() -> None:
    other = SigningKey(bytes(32))
    refused(bundle(key=None), "UnsignedBundle", publisher=KEY.public)
    refused(bundle(), "BadSignature", publisher=other.public)
    entries = entries_of(bundle())
    refused(resealed({**entries, "params.bin": bytes(32)}, other), "BadSignature", publisher=KEY.public)
    refused(write_entries({**entries, "signature.bin": b"short"}), "BadSignature", publisher=KEY.public)
    assert read_bundle(bundle(key=None)).publisher is None


def test_a_part_that_is_not_what_was_signed() -> None:
    entries = entries_of(bundle())
    refused(write_entries({**entries, "params.bin": bytes(32)}), "DigestMismatch", publisher=KEY.public)
    refused(write_entries({**entries, "params.bin": bytes(31)}), "DigestMismatch")


def test_numbers_that_are_none() -> None:
    entries = entries_of(bundle())
    params = PARAMS.copy()
    params[3] = np.nan
    refused(resealed({**entries, "params.bin": params.tobytes()}), "CorruptBundle")


def test_golden_vectors_that_do_not_fit() -> None:
    entries = entries_of(bundle())
    good = golden(specification())
    for change in ({"x": bytes(4)}, {"y": bytes(8)}, {"outputs": bytes(4)}, {"checks": good.checks[:1]}):
        fields = {name: getattr(good, name) for name, _ in Golden.kinds()}
        broken = Golden(**{**fields, **change})
        refused(resealed({**entries, "golden.cbor": broken.encode()}), "CorruptBundle")


@pytest.mark.parametrize(
    "change",
    [
        {"model": "mlp:"},
        {"model": "mlp:0"},
        {"model": "resnet"},
        {"model": "onnx"},
        {"model": "cnn:small"},
        {"tier": "most"},
        {"loss": "hinge"},
        {"format": 2},
        {"outputs": 1},
        {"batch": 0},
        {"input_shape": ()},
        {"exponents": (0,)},
        {"exponents": (0, 99)},
        {"opset": 20},
        {"input_names": ("x", "y", "w", "b")},
        {"opset": 20, "input_names": ("x", "y", "n", "w", "w"), "output_names": ("l", "o", "m", "gw", "gb")},
        {"opset": 20, "input_names": ("x", "y", "w", "b"), "output_names": ("l", "o", "gw", "gb")},
    ],
)
def test_a_specification_that_contradicts_itself_is_never_born(change: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        specification(**change)


@pytest.mark.parametrize("tensors", [[], [["w", [0]]], [["w", [1]], ["w", [1]]], [["w", [2**31]]], [["w"]], [[1, [1]]]])
def test_a_layout_from_the_wire_is_checked(tensors: list[Any]) -> None:
    wire = Manifest.decode(entries_of(bundle())["manifest.cbor"]).to_wire()
    place = [name for name, _ in Manifest.kinds()].index("layout")
    wire[place] = tensors
    with pytest.raises(CodecError):
        Manifest.decode(cbor.encode(wire))
    with pytest.raises(CodecError, match="array of"):
        Manifest.decode(cbor.encode([*wire, 1]))


@given(st.integers(0, 10**9), st.integers(1, 255))
def test_no_flipped_byte_survives(place: int, flip: int) -> None:
    data = bytearray(bundle())
    data[place % len(data)] ^= flip
    with pytest.raises(Refusal):
        read_bundle(bytes(data), publisher=KEY.public)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(Refusal):
        read_bundle(noise)
    with pytest.raises(Refusal):
        read_bundle(b"PK\x03\x04" + noise)
