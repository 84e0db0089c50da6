"""A bundle as one file: written by `quantize`, opened on a device as hostile input. Runs no model."""

import numpy as np

from accord.bundle.builtins import check_builtins
from accord.bundle.entries import read_entries, write_entries
from accord.bundle.golden import Golden
from accord.bundle.manifest import PART_NAMES, Manifest, Part, Specification
from accord.bundle.operators import check_operators
from accord.bundle.quantization import STEPS, Quantization
from accord.errors import CodecError, Refusal, SignatureError
from accord.prg import digest
from accord.signing import SigningKey, verify
from accord.tensors import Vector
from accord.values import dataclass

NAMES = ("manifest.cbor", *PART_NAMES, "signature.bin")
LIMIT = 256 << 20
"""The largest bundle in bytes that is opened if the caller names no other limit."""
_LABEL = b"accord/1/bundle"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle: everything in it has been checked against the manifest.

    `params` are the initial parameters, read-only float32 of shape (P,); `train` (ONNX) and `tflite` are training
    graphs, both None where only the reference runtime can train the model; `infer` is the int8 model that runs and
    `quantization` how the parameters get into it, both None for tier float; `digest` is the BLAKE2b-256 of the file's
    bytes; `publisher` is the key under which the signature was checked, or None if no key was given.
    """

    manifest: Manifest
    params: Vector
    golden: Golden
    train: bytes | None
    tflite: bytes | None
    infer: bytes | None
    quantization: Quantization | None
    digest: bytes
    publisher: bytes | None


def write_bundle(
    specification: Specification,
    *,
    params: Vector,
    golden: Golden,
    train: bytes | None = None,
    tflite: bytes | None = None,
    infer: bytes | None = None,
    quantization: Quantization | None = None,
    signing_key: SigningKey | None = None,
) -> bytes:
    """Return the bytes of a bundle: the same for the same arguments, on every machine.

    Args:
        specification: what the model is.
        params: initial parameters, float32 of shape (P,).
        golden: right answers at `params`.
        train: the training graph, if there is one.
        tflite: the same as a TFLite model.
        infer: the int8 model that runs, for tiers other than float.
        quantization: how the parameters get into it.
        signing_key: the publisher's; None leaves the bundle unsigned.

    Raises:
        CodecError: the parts contradict the specification.
    """
    given = {
        "train.onnx": train,
        "train.tflite": tflite,
        "infer.onnx": infer,
        "params.bin": params.astype("<f4").tobytes(),
        "quant.cbor": None if quantization is None else quantization.encode(),
        "golden.cbor": golden.encode(),
    }
    contents = {name: data for name in PART_NAMES if (data := given[name]) is not None}
    parts = tuple(Part(name=name, size=len(data), digest=digest(data)) for name, data in contents.items())
    fields = {name: getattr(specification, name) for name, _ in Specification.kinds()}
    manifest = Manifest(**fields, parts=parts).encode()
    entries = {"manifest.cbor": manifest, **contents}
    if signing_key is not None:
        entries["signature.bin"] = signing_key.sign(_LABEL + digest(manifest))
    return write_entries(entries)


def read_bundle(data: bytes, *, limit: int = LIMIT, publisher: bytes | None = None) -> Bundle:
    """Open a bundle that came from anywhere.

    Args:
        data: the file's bytes.
        limit: the largest size in bytes that the caller accepts; checked first.
        publisher: the 32-byte key that must have signed it; None accepts unsigned bundles too.

    Raises:
        Refusal: named after the first rule that is broken: `BundleTooLarge`, `CorruptBundle`, `CompressedEntry`,
            `UnknownEntry`, `RepeatedEntry`, `MissingEntry`, `UnsignedBundle`, `BadSignature`, `DigestMismatch`, or one
            of `accord.bundle.operators` and `accord.bundle.builtins`.
    """
    if len(data) > limit:
        raise Refusal("BundleTooLarge", f"{len(data)} bytes where at most {limit} are allowed")
    entries = read_entries(data, NAMES)
    manifest = _manifest(entries, publisher)
    for part in manifest.parts:
        content = entries.get(part.name)
        if content is None:
            raise Refusal("MissingEntry", f"the bundle has no {part.name}")
        if len(content) != part.size or digest(content) != part.digest:
            raise Refusal("DigestMismatch", f"{part.name} is not what the manifest says")
    if set(entries) - {"manifest.cbor", "signature.bin"} != {part.name for part in manifest.parts}:
        raise Refusal("UnknownEntry", "the bundle has a part that its manifest does not name")
    for name in ("train.onnx", "infer.onnx"):
        if name in entries:
            check_operators(entries[name])
    if "train.tflite" in entries:
        check_builtins(entries["train.tflite"])
    params = np.frombuffer(entries["params.bin"], "<f4").astype(np.float32)
    if not np.isfinite(params).all():
        raise Refusal("CorruptBundle", "params.bin holds NaN or infinity")
    params.flags.writeable = False
    quantization = _quantization(entries.get("quant.cbor"), manifest)
    return Bundle(
        manifest=manifest,
        params=params,
        golden=_golden(entries["golden.cbor"], manifest, quantization),
        train=entries.get("train.onnx"),
        tflite=entries.get("train.tflite"),
        infer=entries.get("infer.onnx"),
        quantization=quantization,
        digest=digest(data),
        publisher=publisher,
    )


def _manifest(entries: dict[str, bytes], publisher: bytes | None) -> Manifest:
    """Return the manifest, after its signature: nothing unsigned is decoded where a signature is asked for."""
    data = entries.get("manifest.cbor")
    if data is None:
        raise Refusal("MissingEntry", "the bundle has no manifest.cbor")
    if publisher is not None:
        signature = entries.get("signature.bin")
        if signature is None:
            raise Refusal("UnsignedBundle", "the bundle is not signed: sign it with `accord quantize --sign KEYFILE`")
        try:
            verify(publisher, _LABEL + digest(data), signature, "the bundle")
        except SignatureError as error:
            raise Refusal("BadSignature", str(error)) from error
    try:
        return Manifest.decode(data)
    except CodecError as error:
        raise Refusal("CorruptBundle", f"manifest.cbor: {error}") from error


def _quantization(data: bytes | None, manifest: Manifest) -> Quantization | None:
    if data is None:
        return None
    try:
        found = Quantization.decode(data)
    except CodecError as error:
        raise Refusal("CorruptBundle", f"quant.cbor: {error}") from error
    if len(found.slots) != len(manifest.layout.tensors):
        raise Refusal(
            "CorruptBundle", f"quant.cbor has {len(found.slots)} slots for {len(manifest.layout.tensors)} tensors"
        )
    if any(slot.kind == STEPS for slot in found.slots) != (manifest.tier == "int8"):
        raise Refusal("CorruptBundle", f"tier {manifest.tier}, but tier int8 and no other trains int8 steps")
    return found


def _golden(data: bytes, manifest: Manifest, quantization: Quantization | None) -> Golden:
    try:
        golden = Golden.decode(data)
        golden.examples(manifest)
        golden.expected(manifest)
        golden.gradient_checks(manifest)
        golden.moved(manifest.layout.size)
        if quantization is not None and quantization.cut:
            golden.frozen(quantization)
    except CodecError as error:
        raise Refusal("CorruptBundle", f"golden.cbor: {error}") from error
    return golden
