"""Trained parameters rounded into the constants of `infer.onnx`: the same numbers that training rounded them to."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accord.bundle.protobuf import BYTES, VARINT, read_fields, read_varint, write_field, write_varint
from accord.bundle.quantization import STEPS, WHOLE_TENSOR, Quantization, Slot
from accord.bundle.rounding import bias_steps, weight_scales, weight_steps
from accord.errors import Refusal
from accord.tensors import Layout, Vector

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_DIMENSION, _TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9
_KINDS = {1: np.dtype("<f4"), 3: np.dtype("i1"), 6: np.dtype("<i4")}
_CODES = {dtype: code for code, dtype in _KINDS.items()}

Floats = npt.NDArray[np.float32]


def rounded_tensors(
    quantization: Quantization, layout: Layout, params: Vector, scales: Mapping[str, Floats]
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the tensors of `infer.onnx` that follow from the parameters, by name.

    Args:
        quantization: which parameter goes where.
        layout: of the parameters.
        params: float32 (P,).
        scales: what `fixed_scales` returned.

    Raises:
        Refusal: `CorruptBundle`: a slot names a scale that is not there, or the slots do not fit the layout.
    """
    views = list(layout.views(params).values())
    if len(views) != len(quantization.slots):
        raise Refusal("CorruptBundle", f"quant.cbor has {len(quantization.slots)} slots for {len(views)} tensors")
    found: dict[str, npt.NDArray[np.generic]] = {}
    pairs = list(zip(quantization.slots, views, strict=True))
    for slot, value in pairs:
        if slot.kind == "range":
            found[slot.scale] = np.exp2(value).astype(np.float32)
        elif slot.kind == "float":
            found[slot.values] = value
        elif slot.kind == "weight":
            found[slot.values], found[slot.scale] = _weight(slot, value)
        elif slot.kind == STEPS:
            found[slot.values] = _steps(slot, value, scales)
    for slot, value in pairs:
        if slot.kind != "bias":
            continue
        name = quantization.slots[slot.weight].scale
        weight = found.get(name, scales.get(name))
        rows = found.get(slot.rows, scales.get(slot.rows))
        if weight is None or rows is None or value.ndim != 1 or weight.size not in (1, value.size):
            raise Refusal("CorruptBundle", f"the scale of bias {slot.values[:40]!r} can't be told from infer.onnx")
        found[slot.values], found[slot.scale] = bias_steps(value, weight.astype(np.float32), rows.astype(np.float32))
    return found


def _weight(slot: Slot, value: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Return the steps and the scales of one weight, as the training graph computes them."""
    if slot.axis != WHOLE_TENSOR and slot.axis >= value.ndim:
        raise Refusal("CorruptBundle", f"weight {slot.values[:40]!r} has no axis {slot.axis}")
    axis = None if slot.axis == WHOLE_TENSOR else slot.axis
    scales = weight_scales(value, axis)
    return weight_steps(value, scales, axis), scales


def _steps(slot: Slot, value: Floats, scales: Mapping[str, Floats]) -> npt.NDArray[np.int8]:
    """Return the steps of one weight on a grid of the bundle's own."""
    found, axis = scales.get(slot.scale), None if slot.axis == WHOLE_TENSOR else slot.axis
    if found is None or (axis is not None and (axis >= value.ndim or found.shape != (value.shape[axis],))):
        raise Refusal("CorruptBundle", f"the grid of weight {slot.values[:40]!r} can't be told from infer.onnx")
    return weight_steps(value, found, axis)


def represented(quantization: Quantization, layout: Layout, params: Vector, scales: Mapping[str, Floats]) -> Vector:
    """Return what the rounded tensors stand for, float32 (P,): steps times scales, in the parameters' places.

    Args:
        quantization: which parameter goes where.
        layout: of the parameters.
        params: float32 (P,).
        scales: what `fixed_scales` returned.

    Raises:
        Refusal: `CorruptBundle`, as `rounded_tensors`.
    """
    tensors, found = rounded_tensors(quantization, layout, params, scales), params.copy()
    for slot, view in zip(quantization.slots, layout.views(found).values(), strict=True):
        if slot.kind in ("weight", "bias", STEPS):
            steps = tensors[slot.values].astype(np.float32)
            scale = (scales if slot.kind == STEPS else tensors)[slot.scale].astype(np.float32)
            if slot.kind != "bias" and slot.axis != WHOLE_TENSOR:
                scale = scale.reshape([-1 if place == slot.axis else 1 for place in range(view.ndim)])
            view[...] = steps * scale
    return found


def patched(model: bytes, tensors: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """Return the model with its constants named in `tensors` replaced; shapes and types stay.

    Raises:
        Refusal: `CorruptBundle`: the model has no such constant, or one of another shape or type.
    """
    left = dict(tensors)
    parts = []
    for number, kind, content in read_fields(memoryview(model)):
        if number != _MODEL_GRAPH:
            parts.append(write_field(number, kind, content))
            continue
        inner = []
        for part, wire, value in read_fields(content):
            name = _name(value) if part == _GRAPH_INITIALIZER else ""
            inner.append(write_field(part, wire, _written(value, left.pop(name)) if name in left else value))
        parts.append(write_field(_MODEL_GRAPH, BYTES, b"".join(inner)))
    if left:
        raise Refusal("CorruptBundle", f"infer.onnx has no constant {min(left)[:40]!r}")
    return b"".join(parts)


def fixed_scales(model: bytes, quantization: Quantization) -> dict[str, Floats]:
    """Return the scales that are constants of `infer.onnx`: of activations, float32 (), and of grids, float32 (C,).

    Raises:
        Refusal: `CorruptGraph`: the bytes are no protobuf.
    """
    found, grids = {}, {slot.scale for slot in quantization.slots if slot.kind == STEPS}
    for number, _, graph in read_fields(memoryview(model)):
        if number != _MODEL_GRAPH:
            continue
        for part, _, value in read_fields(graph):
            if part == _GRAPH_INITIALIZER:
                shape, code, raw = _read(value)
                name, single = _name(value), len(raw) == 4 and not any(dim != 1 for dim in shape)
                if code == _CODES[np.dtype("<f4")] and (single or (name in grids and len(raw) == 4 * math.prod(shape))):
                    values = np.frombuffer(raw, "<f4").astype(np.float32)
                    found[name] = values.reshape(shape if name in grids else ())
    return found


def _name(tensor: memoryview) -> str:
    return next((bytes(value).decode() for number, _, value in read_fields(tensor) if number == _NAME), "")


def _read(tensor: memoryview) -> tuple[tuple[int, ...], int, bytes]:
    """Return a tensor's shape, type and little-endian bytes (empty if it is not written raw)."""
    shape: list[int] = []
    code, raw = 0, b""
    for number, kind, value in read_fields(tensor):
        if number == _DIMENSION and kind == VARINT:
            shape.append(read_varint(value, 0)[0])
        elif number == _DIMENSION:
            at = 0
            while at < len(value):
                size, at = read_varint(value, at)
                shape.append(size)
        elif number == _TYPE:
            code = read_varint(value, 0)[0]
        elif number == _RAW or (number == _FLOATS and kind == BYTES):
            raw = bytes(value)
    return tuple(shape), code, raw


def _written(tensor: memoryview, value: npt.NDArray[np.generic]) -> bytes:
    shape, code, _ = _read(tensor)
    if shape != value.shape or _KINDS.get(code) != value.dtype.newbyteorder("<"):
        name = _name(tensor)[:40]
        raise Refusal("CorruptBundle", f"constant {name!r} of infer.onnx is not {value.dtype} {value.shape}")
    sizes = b"".join(write_field(_DIMENSION, VARINT, write_varint(size)) for size in value.shape)
    return b"".join(
        [
            sizes,
            write_field(_TYPE, VARINT, write_varint(code)),
            write_field(_NAME, BYTES, _name(tensor).encode()),
            write_field(_RAW, BYTES, value.astype(value.dtype.newbyteorder("<")).tobytes()),
        ]
    )
