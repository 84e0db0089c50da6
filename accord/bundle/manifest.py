"""What a bundle says of itself: the model's specification, and the size and digest of each part. Holds no bytes.

See docs/protocol.md, section 13; the container is `accord.bundle.entries`.
"""

import re
from typing import Any, ClassVar

from accord.errors import CodecError, UsageError
from accord.records import Flag, Int, Many, Nested, Octets, OneOf, Record, Text, field
from accord.tensors import Layout
from accord.values import dataclass

FORMAT = 1
LOSSES = ("softmax", "binary", "mse", "huber")
"""Weighted mean over rows of: softmax cross-entropy of int labels; and, mean over outputs too, of binary cross-entropy
of 0/1 labels; squared error; Huber's loss with delta 1."""
REGRESSIONS = ("mse", "huber")
"""Those whose outputs are values in the units of the targets."""
PART_NAMES = ("train.onnx", "train.tflite", "infer.onnx", "params.bin", "quant.cbor", "golden.cbor")
"""In the order in which they stand in the manifest and in the file."""

LARGEST_PART = 1 << 30
MAX_TENSORS = 4_096
MAX_NAME = 256
BESIDE_TENSORS = 3
"""Inputs of a graph that are no tensor (x, y, weights), and outputs that are no gradient (loss, outputs, metric)."""
_TIER = re.compile(r"float|head|last-all|last-[1-9][0-9]?|int8")
_MODEL = re.compile(
    r"linear|mlp:[1-9][0-9]{0,4}(?:,[1-9][0-9]{0,4}){0,15}|cnn:(?:small|medium)|mobilenet:[1-9][0-9]{0,2}|gru:[1-9][0-9]{0,3}|onnx"
)


@dataclass(frozen=True)
class Trainable:
    """The kind of a field that holds a `Layout` of at most `MAX_TENSORS` tensors of at most 8 dimensions."""

    def check(self, value: Any, where: str) -> None:
        """Refuse other types and larger layouts."""
        if type(value) is not Layout or len(value.tensors) > MAX_TENSORS:
            raise CodecError(f"{where} is not a layout of at most {MAX_TENSORS} tensors")
        for name, shape in value.tensors:
            if len(name) > MAX_NAME or len(shape) > 8:
                raise CodecError(f"{where}: {name[:40]!r} has a name over {MAX_NAME} characters or over 8 dimensions")

    def lower(self, value: Any) -> Any:
        """Return [[name, [dimension, ...]], ...]."""
        return [[name, list(shape)] for name, shape in value.tensors]

    def lift(self, value: Any, where: str) -> Any:
        """Build the layout from its array."""
        if type(value) is not list or len(value) > MAX_TENSORS:
            raise CodecError(f"{where} is not a list of at most {MAX_TENSORS} tensors")
        tensors = []
        for item in value:
            if type(item) is not list or len(item) != 2 or type(item[0]) is not str or type(item[1]) is not list:
                raise CodecError(f"{where} holds something that is not [name, shape]")
            name, shape = item
            if len(shape) > 8 or any(type(dim) is not int or not 1 <= dim < 2**31 for dim in shape):
                raise CodecError(f"{where}: the shape of {name[:40]!r} is not up to 8 positive dimensions")
            tensors.append((name, tuple(shape)))
        try:
            return Layout(tuple(tensors))
        except UsageError as error:
            raise CodecError(f"{where}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Specification(Record):
    """A model that can be trained, without its numbers.

    `tier` says what is trained: everything in float32, or the `head`, the `last-2` (or another number of) blocks before
    it too, or everything (`last-all`, and `int8` whose weights are int8 while they are trained) of a model that runs in
    int8. There `params.bin` and every update are float32 too, and `train.onnx` takes int8 steps (`quant.cbor`).
    `input_shape` is one row's; `scaled` tells that the model takes rows scaled by the fleet's means and deviations, and
    not as they are; `batch` is the largest number of rows of one gradient; `exponents[i]` says that one
    round's update of tensor i is expected within ±2^e. `input_names` of `train.onnx` are x, y, the weights of the rows
    and the tensors in layout order, `output_names` the loss, the outputs, the metric and the gradients in layout order;
    both are empty, and `opset` is 0, where only the NumPy `reference` runtime can train the model.

    Raises:
        CodecError: a field is out of its range, or two fields contradict one another.
    """

    LIMIT: ClassVar[int] = 1 << 20

    format: int = field(Int(FORMAT, FORMAT))
    model: str = field(Text(128))
    tier: str = field(Text(8))
    loss: str = field(OneOf(LOSSES))
    input_shape: tuple[int, ...] = field(Many(Int(1, 2**24), 1, 4))
    outputs: int = field(Int(1, 65_536))
    scaled: bool = field(Flag())
    batch: int = field(Int(1, 65_536))
    opset: int = field(Int(0, 64))
    layout: Layout = field(Trainable())
    exponents: tuple[int, ...] = field(Many(Int(-60, 60), 1, MAX_TENSORS))
    input_names: tuple[str, ...] = field(Many(Text(MAX_NAME), 0, MAX_TENSORS + BESIDE_TENSORS))
    output_names: tuple[str, ...] = field(Many(Text(MAX_NAME), 0, MAX_TENSORS + BESIDE_TENSORS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if _MODEL.fullmatch(self.model) is None:
            raise CodecError(
                f"model {self.model[:40]!r} is unknown: linear, mlp:64,32, cnn:small, cnn:medium, "
                "mobilenet:25, gru:64 or onnx"
            )
        if _TIER.fullmatch(self.tier) is None:
            raise CodecError(f"tier {self.tier[:40]!r} is unknown: float, head, last-2, last-all or int8")
        if self.loss == "softmax" and self.outputs < 2:
            raise CodecError("a softmax over one output is always 1: use two outputs, or loss binary")
        tensors = len(self.layout.tensors)
        if len(self.exponents) != tensors:
            raise CodecError(f"{len(self.exponents)} scale exponents for {tensors} tensors")
        expected = tensors + BESIDE_TENSORS if self.opset else 0
        for names in (self.input_names, self.output_names):
            if len(names) != expected or len(set(names)) != expected or not all(names):
                raise CodecError(f"train.onnx needs {expected} names of inputs and of outputs, each of its own")
        if not self.opset and not self.model.startswith(("linear", "mlp:")):
            raise CodecError(f"model {self.model} can't be trained without train.onnx")

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Names of the inputs of `train.onnx` that take the tensors, in layout order."""
        return self.input_names[BESIDE_TENSORS:]

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one row's target: () for a label or a single value, else (outputs,)."""
        return () if self.loss == "softmax" or self.outputs == 1 else (self.outputs,)


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """The size in bytes and the BLAKE2b-256 digest of one part of a bundle."""

    name: str = field(OneOf(PART_NAMES))
    size: int = field(Int(1, LARGEST_PART))
    digest: bytes = field(Octets(32))


@dataclass(frozen=True, kw_only=True)
class Manifest(Specification):
    """A specification and the parts that hold its numbers and its graph.

    Raises:
        CodecError: as for `Specification`; or a part is missing, repeated, out of order, or has another size than the
            layout says.
    """

    parts: tuple[Part, ...] = field(Many(Nested(Part), 1, len(PART_NAMES)))

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tuple(part.name for part in self.parts)
        needed = {"params.bin", "golden.cbor"}
        needed |= {"train.onnx"} if self.opset else set()
        needed |= {"infer.onnx", "quant.cbor"} if self.tier != "float" else set()
        possible = needed | {"train.tflite"}
        if names != tuple(name for name in PART_NAMES if name in names) or not needed <= set(names) <= possible:
            wanted = ", ".join(name for name in PART_NAMES if name in needed)
            raise CodecError(f"the parts are {', '.join(names)}, not {wanted}")
        if self.part("params.bin").size != 4 * self.layout.size:
            raise CodecError(f"params.bin is not {self.layout.size} float32 values")

    def part(self, name: str) -> Part:
        """Return the part called `name`.

        Raises:
            KeyError: this bundle has none of that name.
        """
        return {part.name: part for part in self.parts}[name]
