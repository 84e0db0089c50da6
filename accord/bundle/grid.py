"""The int8 grid on which tier `int8` keeps its weights: scales fixed in the bundle, values held as steps.

A weight is scale * q with q from -127 to 127 and one scale for each output channel; biases, normalisations and trained
scales of activations stay float32.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.bundle.archive import Bundle
from accord.bundle.int8 import fixed_scales
from accord.bundle.quantization import STEPS, WHOLE_TENSOR, Quantization, Slot
from accord.bundle.rounding import HIGHEST
from accord.errors import Refusal, UsageError
from accord.tensors import Layout, Tensor, Vector
from accord.values import dataclass

BLOCK = 1 << 15
"""Numbers that are worked on at once: 128 KiB of float32, which stay in a small core's cache between passes."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Neighbouring weights of one tensor.

    `flat` is their place in the flat vector and `held` that among the steps; in `shape`, float32 `scales` broadcast
    against them.
    """

    flat: slice
    held: slice
    shape: tuple[int, ...]
    scales: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class GridTensor:
    """One trained tensor: its place in the layout, where it is held, and its blocks; none where it stays float32."""

    place: Tensor
    held: slice
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class GridWeights:
    """Parameters on a grid, which are changed in place: int8 `steps` (Q,), float32 `floats` (F,), and views of both.

    `tensors` are in layout order and in their own shapes.
    """

    steps: npt.NDArray[np.int8]
    floats: Vector
    tensors: tuple[npt.NDArray[Any], ...]

    @property
    def nbytes(self) -> int:
        """Bytes that the parameters take."""
        return self.steps.nbytes + self.floats.nbytes


class WeightGrid:
    """The grid of one bundle.

    Args:
        layout: of the parameters.
        quantization: says which of them lie on a grid.
        scales: of the grids, float32 (C,) or (), by the names that the slots give.

    Raises:
        Refusal: `CorruptBundle`: a scale is missing, has another shape than its channels, or is no positive number.
    """

    def __init__(self, layout: Layout, quantization: Quantization, scales: Mapping[str, Floats]) -> None:
        if len(quantization.slots) != len(layout.tensors):
            raise Refusal(
                "CorruptBundle", f"quant.cbor has {len(quantization.slots)} slots for {len(layout.tensors)} tensors"
            )
        self.layout = layout
        steps = floats = 0
        found = []
        for place, slot in zip(layout.places, quantization.slots, strict=True):
            if slot.kind == STEPS:
                held = slice(steps, steps + place.size)
                steps = held.stop
                blocks = tuple(_blocks(place, steps - place.size, slot, _checked(place, slot, scales)))
            else:
                held, blocks = slice(floats, floats + place.size), ()
                floats = held.stop
            found.append(GridTensor(place=place, held=held, blocks=blocks))
        self.tensors = tuple(found)
        self._sizes = (steps, floats)

    def empty(self) -> GridWeights:
        """Return new parameters, all of them zero."""
        steps, floats = np.zeros(self._sizes[0], np.int8), np.zeros(self._sizes[1], np.float32)
        views = tuple(
            (steps if tensor.blocks else floats)[tensor.held].reshape(tensor.place.shape) for tensor in self.tensors
        )
        return GridWeights(steps=steps, floats=floats, tensors=views)

    def nearest(self, params: Vector, out: GridWeights | None = None) -> GridWeights:
        """Return float32 parameters (P,) rounded to the nearest steps, ties to even; beyond the grid, to its end.

        Args:
            params: float32 (P,).
            out: is overwritten and returned; new ones if None.

        Raises:
            UsageError: the vector has another length.
        """
        if params.shape != (self.layout.size,):
            raise UsageError(f"a vector of {self.layout.size} parameters is expected, not one of shape {params.shape}")
        found = self.empty() if out is None else out
        for tensor in self.tensors:
            if not tensor.blocks:
                found.floats[tensor.held] = params[tensor.place.offset : tensor.place.offset + tensor.place.size]
            for block in tensor.blocks:
                steps = params[block.flat].reshape(block.shape) / block.scales
                np.clip(np.rint(steps, out=steps), -HIGHEST, HIGHEST, out=steps)
                found.steps[block.held] = steps.reshape(-1)
        return found

    def values(self, weights: GridWeights) -> Vector:
        """Return parameters as a new flat vector, float32 (P,): what `nearest` takes back to the same steps."""
        found = np.empty(self.layout.size, np.float32)
        for tensor in self.tensors:
            if not tensor.blocks:
                found[tensor.place.offset : tensor.place.offset + tensor.place.size] = weights.floats[tensor.held]
            for block in tensor.blocks:
                held = weights.steps[block.held].reshape(block.shape)
                np.multiply(held, block.scales, out=found[block.flat].reshape(block.shape))
        return found


def grid_of(bundle: Bundle) -> WeightGrid | None:
    """Return the grid on which a bundle's weights are trained, None for tiers other than `int8`.

    Raises:
        Refusal: `CorruptBundle`: as for `WeightGrid`; `CorruptGraph`: `infer.onnx` is no protobuf.
    """
    quantization = bundle.quantization
    if bundle.manifest.tier != "int8" or quantization is None or bundle.infer is None:
        return None
    return WeightGrid(bundle.manifest.layout, quantization, fixed_scales(bundle.infer, quantization))


def _checked(place: Tensor, slot: Slot, scales: Mapping[str, Floats]) -> Floats:
    """Return the scales of one tensor, () or one for each of its channels."""
    found = scales.get(slot.scale)
    if found is None:
        raise Refusal("CorruptBundle", f"infer.onnx has no scale {slot.scale[:40]!r}")
    if slot.axis != WHOLE_TENSOR and slot.axis >= len(place.shape):
        raise Refusal("CorruptBundle", f"weight {slot.values[:40]!r} has no axis {slot.axis}")
    channels = () if slot.axis == WHOLE_TENSOR else (place.shape[slot.axis],)
    if found.shape != channels or not (np.isfinite(found).all() and (found > 0).all()):
        raise Refusal("CorruptBundle", f"scale {slot.scale[:40]!r} is not {channels or 1} positive numbers")
    return found


def _blocks(place: Tensor, held: int, slot: Slot, scales: Floats) -> Iterator[Block]:
    """Cut one tensor into runs of neighbours, each at most `BLOCK` long, whose scales broadcast."""
    if slot.axis == WHOLE_TENSOR:
        outer, channels, inner = 1, 1, place.size
    else:
        outer, channels = math.prod(place.shape[: slot.axis]), place.shape[slot.axis]
        inner = math.prod(place.shape[slot.axis + 1 :])
    column = scales.reshape(channels, 1)

    def block(start: int, shape: tuple[int, ...], part: Floats) -> Block:
        end = start + math.prod(shape)
        flat, kept = (slice(start + shift, end + shift) for shift in (place.offset, held))
        return Block(flat=flat, held=kept, shape=shape, scales=part)

    row = channels * inner
    if row <= BLOCK:
        many = BLOCK // row
        for at in range(0, outer, many):
            yield block(at * row, (min(many, outer - at), channels, inner), column)
        return
    many, length = max(1, BLOCK // inner), min(inner, BLOCK)
    for at in range(outer):
        for first in range(0, channels, many):
            part = column[first : first + many]
            for start in range(0, inner, length):
                shape = (len(part), min(length, inner - start))
                yield block(at * row + first * inner + start, shape, part)
