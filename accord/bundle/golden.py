"""Golden vectors: a few rows with the loss, outputs and gradients that a right runtime gives at known parameters.

CBOR here holds no floats, so numbers are little-endian float32 and float64 bytes. Runs nothing itself.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from accord.bundle.manifest import MAX_TENSORS, Specification
from accord.bundle.quantization import Quantization
from accord.entropy import Entropy
from accord.errors import CodecError
from accord.records import Int, Many, Nested, Octets, Record, field
from accord.tensors import Vector
from accord.values import dataclass

MAX_ROWS = 64
MAX_BYTES = 8 << 20
WHOLE = 4_096
"""A gradient of at most this many elements is kept whole."""
SAMPLE = 512
"""Elements that are kept of a larger one."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Check(Record):
    """What is known of one tensor's gradient: float32 `values` at uint32 `places`, and the largest magnitude of all."""

    places: bytes = field(Octets(4, 4 * WHOLE))
    values: bytes = field(Octets(4, 4 * WHOLE))
    peak: bytes = field(Octets(4))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.places) != len(self.values) or len(self.places) % 4:
            raise CodecError("a gradient check has as many places as values, of 4 bytes each")


@dataclass(frozen=True, kw_only=True)
class Golden(Record):
    """`rows` examples with what must come out; `y` is int64 for softmax, else float32; `loss` is float64.

    `features` is what the frozen part of the model gives for x, and empty where nothing is frozen. The parameters are
    the bundle's, but for the float32 `values` at the uint32 `places`: where activations are rounded these keep every
    value off the middle of two steps, where right runtimes differ.
    """

    LIMIT: ClassVar[int] = 32 << 20

    rows: int = field(Int(1, MAX_ROWS))
    x: bytes = field(Octets(4, MAX_BYTES))
    y: bytes = field(Octets(4, MAX_BYTES))
    loss: bytes = field(Octets(8))
    outputs: bytes = field(Octets(4, MAX_BYTES))
    features: bytes = field(Octets(0, MAX_BYTES))
    places: bytes = field(Octets(0, MAX_BYTES))
    values: bytes = field(Octets(0, MAX_BYTES))
    checks: tuple[Check, ...] = field(Many(Nested(Check), 1, MAX_TENSORS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.places) != len(self.values) or len(self.places) % 4:
            raise CodecError("golden parameters have as many places as values, of 4 bytes each")

    def moved(self, size: int) -> tuple[npt.NDArray[np.int64], Floats]:
        """Return the places within `size` parameters that differ from the bundle's, and their values.

        Raises:
            CodecError: a place is outside them, or a value is not finite.
        """
        places = np.frombuffer(self.places, "<u4").astype(np.int64)
        if places.size and int(places.max()) >= size:
            raise CodecError("a golden parameter lies outside the parameters")
        return places, _array(self.values, "<f4", places.shape, "golden parameters")

    def params(self, params: Vector) -> Vector:
        """Return the parameters that the rows are tested at, float32 (P,): a copy of the bundle's with some moved.

        Raises:
            CodecError: a size does not fit the vector.
        """
        places, values = self.moved(params.size)
        found = params.copy()
        found[places] = values
        return found

    def examples(self, specification: Specification) -> tuple[Floats, npt.NDArray[Any]]:
        """Return x, float32 (rows, *input_shape), and y, int64 (rows,) or float32 (rows, *target_shape).

        Raises:
            CodecError: a size does not fit the specification.
        """
        x = _array(self.x, "<f4", (self.rows, *specification.input_shape), "golden x")
        kind = "<i8" if specification.loss == "softmax" else "<f4"
        return x, _array(self.y, kind, (self.rows, *specification.target_shape), "golden y")

    def expected(self, specification: Specification) -> tuple[float, Floats]:
        """Return the mean loss and the outputs, float32 (rows, outputs).

        Raises:
            CodecError: a size does not fit the specification.
        """
        outputs = _array(self.outputs, "<f4", (self.rows, specification.outputs), "golden outputs")
        return float(np.frombuffer(self.loss, "<f8")[0]), outputs

    def frozen(self, quantization: Quantization) -> npt.NDArray[Any]:
        """Return what the frozen part gives, int8 or float32 (rows, *feature_shape).

        Raises:
            CodecError: a size does not fit.
        """
        kind = "<f4" if quantization.feature_type == "float32" else "i1"
        return _array(self.features, kind, (self.rows, *quantization.feature_shape), "golden features")

    def gradient_checks(self, specification: Specification) -> list[tuple[str, npt.NDArray[np.int64], Floats, float]]:
        """Return (tensor name, places in the flat vector, expected values, largest magnitude) for each tensor.

        Raises:
            CodecError: there are not as many checks as tensors, or a place is outside its tensor.
        """
        tensors = specification.layout.places
        if len(self.checks) != len(tensors):
            raise CodecError(f"{len(self.checks)} gradient checks for {len(tensors)} tensors")
        found = []
        for tensor, check in zip(tensors, self.checks, strict=True):
            places = np.frombuffer(check.places, "<u4").astype(np.int64)
            if int(places.max()) >= tensor.size:
                raise CodecError(f"a gradient check of {tensor.name!r} lies outside the tensor")
            values = np.frombuffer(check.values, "<f4").astype(np.float32)
            found.append((tensor.name, places + tensor.offset, values, float(np.frombuffer(check.peak, "<f4")[0])))
        return found


def make_golden(
    specification: Specification,
    *,
    x: Floats,
    y: npt.NDArray[Any],
    loss: float,
    outputs: Floats,
    gradient: Vector,
    entropy: Entropy,
    features: npt.NDArray[Any] | None = None,
    moved: tuple[Vector, Vector] | None = None,
) -> Golden:
    """Return the golden vectors of right answers that the caller has worked out.

    Args:
        specification: whose shapes the arrays have.
        x: float32 (rows, *input_shape).
        y: (rows, *target_shape), integers for softmax.
        loss: mean over the rows.
        outputs: float32 (rows, outputs).
        gradient: float32 (P,).
        entropy: chooses the sampled places of large tensors.
        features: what the frozen part gives, int8 or float32 (rows, ...); None where nothing is frozen.
        moved: the bundle's parameters and those that the answers belong to, float32 (P,); None where they are the same.
    """
    checks = []
    elsewhere = np.flatnonzero(moved[0] != moved[1]) if moved is not None else np.zeros(0, np.int64)
    for tensor in specification.layout.places:
        values = gradient[tensor.offset : tensor.offset + tensor.size]
        places = np.arange(tensor.size)
        if tensor.size > WHOLE:
            drawn = np.frombuffer(entropy.child("golden", tensor.name)(8 * SAMPLE), "<u8")
            places = np.unique(drawn % np.uint64(tensor.size))
        checks.append(
            Check(
                places=places.astype("<u4").tobytes(),
                values=values[places.astype(np.int64)].astype("<f4").tobytes(),
                peak=np.abs(values).max().astype("<f4").tobytes(),
            ),
        )
    return Golden(
        rows=len(x),
        x=x.astype("<f4").tobytes(),
        y=y.astype("<i8" if specification.loss == "softmax" else "<f4").tobytes(),
        loss=np.float64(loss).astype("<f8").tobytes(),
        outputs=outputs.astype("<f4").tobytes(),
        features=b"" if features is None else features.astype(features.dtype.newbyteorder("<")).tobytes(),
        places=elsewhere.astype("<u4").tobytes(),
        values=b"" if moved is None else moved[1][elsewhere].astype("<f4").tobytes(),
        checks=tuple(checks),
    )


def _array(data: bytes, kind: str, shape: tuple[int, ...], what: str) -> npt.NDArray[Any]:
    expected = np.dtype(kind).itemsize * int(np.prod(shape))
    if len(data) != expected:
        raise CodecError(f"{what} has {len(data)} bytes, not {expected}")
    array = np.frombuffer(data, kind).reshape(shape)
    if not np.isfinite(array).all():
        raise CodecError(f"{what} holds NaN or infinity")
    return array.astype(array.dtype.newbyteorder("="))
