"""`accord quantize`: a model becomes a training bundle."""

import argparse
import json
import sys
from pathlib import Path

from accord.bundle.manifest import LOSSES
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.signing import SEED_SIZE, SigningKey
from quantize.accuracy import accuracy_of
from quantize.costs import costs_of
from quantize.drawing import drawing, page
from quantize.int8.blocks import blocks
from quantize.int8.tiers import checked_tier
from quantize.making import Choices, make_from
from quantize.models import Source, read_model
from quantize.picture import picture_of
from quantize.report import Report
from quantize.rows import Rows, checked_targets, read_rows, scaled

DEEP_ENOUGH = 3
"""Blocks from which on a pretrained model has something to freeze before its head and two more."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.epilog = (
        "example: accord quantize mlp:16 --input-shape 64 --outputs 10 --loss softmax --out bundle\n"
        "or: accord quantize net.onnx --tier last-2 --calibrate rows.npz --out bundle"
    )
    parser.add_argument(
        "model", metavar="MODEL", help="linear, mlp:64,32, cnn:small, cnn:medium, mobilenet:25, gru:64, or an ONNX file"
    )
    parser.add_argument(
        "--input-shape",
        metavar="1,28,28",
        help="shape of one row, without the batch; an ONNX model that states it needs no telling",
    )
    parser.add_argument("--outputs", type=int, help="classes, or values per row; an ONNX model needs no telling")
    parser.add_argument("--loss", choices=LOSSES, default="softmax", help="default: softmax")
    parser.add_argument("--batch", type=int, default=32, help="largest batch of a device (default: 32)")
    parser.add_argument(
        "--tier",
        metavar="TIER",
        help="what is trained: float (everything, nothing is rounded); or, of a model that runs in int8, head, last-2 "
        "(the head and 2 blocks before it, or another number), last-all, or int8: everything, with weights that are "
        "int8 while they are trained, where memory is all. Default: float; with --calibrate, last-2 "
        "for an ONNX model with more blocks than that, else last-all, as a built-in model starts from drawn weights, "
        "which are not worth freezing",
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="DATA.npz",
        help="some hundred real rows in x or x_train: int8 steps are chosen from them; with y or y_train the accuracy "
        "is told. Needed where something is frozen; they are not put into the bundle",
    )
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--scaled", action="store_true", help="rows are scaled by the fleet (default of built-in models)")
    rows.add_argument("--raw", action="store_true", help="the model takes rows as they are (default of ONNX models)")
    scales = parser.add_mutually_exclusive_group()
    scales.add_argument(
        "--train-scales",
        action="store_true",
        help="train the int8 scales of activations too (tiers last-all and int8; their default for built-in models)",
    )
    scales.add_argument("--fixed-scales", action="store_true", help="keep them (default of ONNX models)")
    parser.add_argument("--freeze-before", default="", metavar="TENSOR", help="train only weights behind this tensor")
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="FILE.svg",
        help="draw the model: what is trained, frozen, int8, and where it is cut; .svg or .html",
    )
    parser.add_argument("--tflite", action="store_true", help="also for devices with ai-edge-litert or tflite-runtime")
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="file to write")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="publisher's key: 32 bytes, raw or in hexadecimal")
    parser.add_argument("--seed", type=int, default=0, help="for initial weights and golden rows (default: 0)")


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle, print what is in it, and return 0."""
    try:
        report = _report(arguments)
    finally:
        _say("")
    print(json.dumps(report.facts()) if arguments.json else report.table())
    return 0


def _report(arguments: argparse.Namespace) -> Report:
    """Write the bundle and return what is to be told of it."""
    if arguments.tier is not None:
        checked_tier(arguments.tier)
    if arguments.explain is not None and arguments.explain.suffix not in (".svg", ".html"):
        raise UsageError(f"--explain {arguments.explain}: the picture is .svg, or .html")
    entropy = SeededEntropy(arguments.seed)
    key = None if arguments.sign is None else _key(arguments.sign)
    shape = None if arguments.input_shape is None else _shape(arguments.input_shape)
    _say("reading the model")
    source = read_model(arguments.model, shape, arguments.outputs, arguments.loss, entropy)
    choices, rows = _choices(arguments, source)
    _say(f"dividing it for tier {choices.tier}, differentiating, and testing the result")
    made = make_from(source, arguments.loss, arguments.batch, entropy, key, choices)
    _write(arguments.out, made.data)
    if arguments.explain is not None:
        picture = picture_of(made)
        text = page(picture) if arguments.explain.suffix == ".html" else drawing(picture)
        _write(arguments.explain, text.encode())
    _say("measuring a step and the accuracy")
    return Report(
        made=made,
        path=arguments.out,
        costs=costs_of(made, None if rows is None else rows.x),
        accuracy=None if rows is None else accuracy_of(made, rows),
    )


def _choices(arguments: argparse.Namespace, source: Source) -> tuple[Choices, Rows | None]:
    """Return what is trained and how, and the rows to calibrate on as the model takes them."""
    if arguments.scaled and source.network.ids:
        raise UsageError("this model takes ids, which are never scaled: leave --scaled out")
    inputs = arguments.scaled or not (arguments.raw or source.pretrained or source.network.ids)
    rows = None
    if arguments.calibrate is not None:
        found = checked_targets(read_rows(arguments.calibrate, source.input_shape), source.network, arguments.loss)
        rows = scaled(found, arguments.loss, inputs=inputs)
    tier = _default_tier(source, calibrated=rows is not None) if arguments.tier is None else arguments.tier
    train_scales = True if arguments.train_scales else False if arguments.fixed_scales else None
    if tier == "float" and train_scales is not None:
        raise UsageError("tier float rounds nothing, so it has no scales: choose a --tier, or leave them out")
    choices = Choices(
        tier=tier,
        freeze_before=arguments.freeze_before,
        rows=None if rows is None else rows.x,
        scaled=inputs,
        tflite=arguments.tflite,
        train_scales=train_scales,
    )
    return choices, rows


def _default_tier(source: Source, *, calibrated: bool) -> str:
    if not calibrated:
        return "float"
    return "last-2" if source.pretrained and len(blocks(source.network)) > DEEP_ENOUGH else "last-all"


def _say(sentence: str) -> None:
    """Tell on the standard error, if that is a terminal, what is slow now; nothing clears the line."""
    if sys.stderr.isatty():
        print(f"\r\033[K{sentence}{'…' if sentence else ''}", end="", file=sys.stderr, flush=True)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error


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
