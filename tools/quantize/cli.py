"""`accord quantize`: a model becomes a training bundle."""

import argparse
import json
from pathlib import Path

from accord.bundle.manifest import LOSSES
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.signing import SEED_SIZE, SigningKey
from quantize.making import Choices, Made, make


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = "example: accord quantize mlp:16 --input-shape 64 --outputs 10 --loss softmax --out bundle"
    parser.add_argument("model", metavar="MODEL", help="linear, mlp:64,32, cnn:small, or the path of an ONNX model")
    parser.add_argument("--input-shape", required=True, metavar="1,28,28", help="shape of one row, without the batch")
    parser.add_argument("--outputs", type=int, required=True, help="classes, or values per row")
    parser.add_argument("--loss", choices=LOSSES, default="softmax", help="default: softmax")
    parser.add_argument("--batch", type=int, default=32, help="largest batch of a device (default: 32)")
    parser.add_argument("--freeze-before", default="", metavar="TENSOR", help="train only weights behind this tensor")
    parser.add_argument("--tflite", action="store_true", help="also for devices with ai-edge-litert or tflite-runtime")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="file to write")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="publisher's key: 32 bytes, raw or in hexadecimal")
    parser.add_argument("--seed", type=int, default=0, help="for initial weights and golden rows (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle, print what is in it, and return 0."""
    made = make(
        arguments.model,
        _shape(arguments.input_shape),
        arguments.outputs,
        arguments.loss,
        arguments.batch,
        SeededEntropy(arguments.seed),
        None if arguments.sign is None else _key(arguments.sign),
        Choices(freeze_before=arguments.freeze_before, tflite=arguments.tflite),
    )
    try:
        arguments.out.write_bytes(made.data)
    except OSError as error:
        raise UsageError(f"{arguments.out} can't be written: {error.strerror}") from error
    print(json.dumps(_facts(made, arguments.out)) if arguments.json else _table(made, arguments.out))
    return 0


def _shape(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise UsageError(f"--input-shape {text!r} is not a shape: write positive numbers with commas, such as 1,28,28")
    return tuple(int(word) for word in words)


def _key(path: Path) -> SigningKey:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key file {path} can't be read: {error.strerror}") from error
    if len(data) != SEED_SIZE:
        try:
            data = bytes.fromhex(data.decode("ascii").strip())
        except ValueError:
            data = b""
    if len(data) != SEED_SIZE:
        raise UsageError(f"the key file {path} does not hold {SEED_SIZE} bytes, raw or in hexadecimal")
    return SigningKey(data)


def _facts(made: Made, path: Path) -> dict[str, object]:
    manifest = made.bundle.manifest
    loss, _ = made.bundle.golden.expected(manifest)
    return {
        "bundle": str(path),
        "digest": made.bundle.digest.hex(),
        "bytes": len(made.data),
        "model": manifest.model,
        "loss": manifest.loss,
        "parameters": manifest.layout.size,
        "tensors": [
            {"name": name, "shape": list(shape), "exponent": exponent}
            for (name, shape), exponent in zip(manifest.layout.tensors, manifest.exponents, strict=True)
        ],
        "parts": {part.name: part.size for part in manifest.parts},
        "golden_loss": loss,
        "golden_error": made.golden_error,
        "publisher": None if made.bundle.publisher is None else made.bundle.publisher.hex(),
        "notes": list(made.notes),
    }


def _table(made: Made, path: Path) -> str:
    manifest = made.bundle.manifest
    loss, _ = made.bundle.golden.expected(manifest)
    width = max(10, *(len(name) for name, _ in manifest.layout.tensors))
    lines = [f"{'tensor':<{width}}  {'shape':<16} {'parameters':>11}"]
    for place in manifest.layout.places:
        shape = "x".join(map(str, place.shape)) or "1"
        lines.append(f"{place.name:<{width}}  {shape:<16} {place.size:>11,}")
    lines += [f"{'all':<{width}}  {'':<16} {manifest.layout.size:>11,}", ""]
    lines += [f"{part.name:<14} {part.size:>12,} bytes" for part in manifest.parts]
    lines.append(f"{path.name:<14} {len(made.data):>12,} bytes, digest {made.bundle.digest.hex()[:16]}…")
    tested = "onnxruntime and LiteRT here are" if made.bundle.tflite else "onnxruntime here is"
    lines.append(f"golden loss {loss:.6f}; {tested} within {made.golden_error:.1e} of the exact gradients")
    signed = "signed" if made.bundle.publisher else "not signed: devices that pin a publisher refuse it"
    return "\n".join([*lines, signed, *made.notes])
