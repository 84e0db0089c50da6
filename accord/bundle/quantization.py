"""How a trained vector becomes the int8 model that runs: which tensor of `infer.onnx` each parameter ends in.

See docs/protocol.md, section 13. Holds no weights and rounds nothing: `accord.bundle.int8` does.
"""

from typing import ClassVar

from accord.bundle.manifest import MAX_NAME, MAX_TENSORS
from accord.errors import CodecError
from accord.records import Int, Many, Nested, OneOf, Record, Text, field
from accord.values import dataclass

STEPS = "steps"
KINDS = ("weight", "bias", "range", "float", STEPS)
WHOLE_TENSOR = 8
"""The axis of a weight that has one scale for all of its channels."""


@dataclass(frozen=True, kw_only=True)
class Slot(Record):
    """Where one parameter goes.

    - `weight`: int8 steps into `values`, their scales max|w| / 127 into `scale`, per channel along `axis`, or one for
      the whole tensor where `axis` is 8.
    - `bias`: int32 steps into `values`, their scales into `scale`: those of the weight in slot `weight` times the one
      of its rows, in `rows`.
    - `range`: two to the power of the parameter into `scale`.
    - `float`: as it is into `values`.
    - `steps`: int8 steps into `values`; their scales, along `axis` as those of a weight, are the constant `scale`,
      which stays as it is. Only tier int8 has such slots: a device holds these parameters as steps.
    """

    kind: str = field(OneOf(KINDS))
    values: str = field(Text(MAX_NAME))
    scale: str = field(Text(MAX_NAME))
    rows: str = field(Text(MAX_NAME))
    axis: int = field(Int(0, 8))
    weight: int = field(Int(0, MAX_TENSORS))


@dataclass(frozen=True, kw_only=True)
class Quantization(Record):
    """The slots of all parameters in layout order, and where the frozen part ends.

    `cut` is the tensor of `infer.onnx` that the frozen part gives and `train.onnx` takes, of shape
    (N, *`feature_shape`) and type `feature_type`; it is empty where nothing is frozen.

    Raises:
        CodecError: a bias names a slot that is no weight, or a cut has no shape.
    """

    LIMIT: ClassVar[int] = 1 << 20

    cut: str = field(Text(MAX_NAME))
    feature_shape: tuple[int, ...] = field(Many(Int(1, 2**24), 0, 6))
    feature_type: str = field(OneOf(("int8", "float32")))
    slots: tuple[Slot, ...] = field(Many(Nested(Slot), 1, MAX_TENSORS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.cut) != bool(self.feature_shape):
            raise CodecError("a cut has a shape, and what is not cut has none")
        for slot in self.slots:
            if slot.kind == "bias" and (
                slot.weight >= len(self.slots) or self.slots[slot.weight].kind not in ("weight", STEPS)
            ):
                raise CodecError(f"bias {slot.values[:40]!r} goes with slot {slot.weight}, which is no weight")
