"""Convolutions and pools with explicit pads: auto_pad, ceil_mode and output_shape are worked out beforehand."""

import math
from collections.abc import Sequence
from typing import Any

import onnx

from accord.errors import UsageError
from quantize.network.draft import BATCHES, Draft, Sizes, sizes

_FORWARD = frozenset({"Conv", "MaxPool", "AveragePool"})


def make_pads_explicit(draft: Draft) -> None:
    """Rewrite the attributes of every Conv, ConvTranspose, MaxPool and AveragePool whose input has a known shape.

    One after the other, as ONNX's own inference takes another size than runtimes do where a pool rounds up.

    Raises:
        UsageError: an average counts pads and rounds sizes up.
    """
    while _first(draft, sizes(draft, draft.nodes, draft.constants, BATCHES[0], strict=False)):
        pass


def _first(draft: Draft, found: Sizes) -> bool:
    """Rewrite the first node that needs it; tell whether there was one."""
    for node in draft.nodes:
        shape = found.shapes.get(node.input[0]) if node.input else None
        if shape is None or node.op_type not in (*_FORWARD, "ConvTranspose"):
            continue
        kernel = tuple(_get(node, "kernel_shape", None) or found.shapes[node.input[1]][2:])
        if (_forward if node.op_type in _FORWARD else _transposed)(node, shape[2:], kernel):
            return True
    return False


def _get(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def _set(node: onnx.NodeProto, removed: Sequence[str], **attributes: Any) -> None:
    kept = [item for item in node.attribute if item.name not in (*removed, *attributes)]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())


def _forward(node: onnx.NodeProto, lengths: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    rank = len(kernel)
    auto, ceil = bytes(_get(node, "auto_pad", b"NOTSET")), int(_get(node, "ceil_mode", 0))
    if auto == b"NOTSET" and not ceil:
        return False
    strides, dilations = _get(node, "strides", [1] * rank), _get(node, "dilations", [1] * rank)
    reach = [(kernel[i] - 1) * dilations[i] + 1 for i in range(rank)]
    pads = list(_get(node, "pads", [0] * 2 * rank))
    if auto.startswith(b"SAME"):
        pads = _same(
            auto,
            [
                max(0, (math.ceil(lengths[i] / strides[i]) - 1) * strides[i] + reach[i] - lengths[i])
                for i in range(rank)
            ],
        )
    elif auto == b"VALID":
        pads = [0] * 2 * rank
    elif ceil:
        pads = _ceiled(node, lengths, reach, strides, pads)
    _set(node, ("auto_pad", "ceil_mode"), pads=pads)
    return True


def _same(auto: bytes, totals: list[int]) -> list[int]:
    before = [total // 2 if auto == b"SAME_UPPER" else total - total // 2 for total in totals]
    return [*before, *(total - first for total, first in zip(totals, before, strict=True))]


def _ceiled(
    node: onnx.NodeProto, lengths: tuple[int, ...], reach: list[int], strides: list[int], pads: list[int]
) -> list[int]:
    """Pad behind so that a last window fits, unless it would begin in the pads."""
    rank, found = len(lengths), list(pads)
    for i in range(rank):
        room = lengths[i] + pads[i] + pads[i + rank] - reach[i]
        windows = math.ceil(room / strides[i]) + 1
        if (windows - 1) * strides[i] >= lengths[i] + pads[i]:
            windows -= 1
        found[i + rank] += max(0, (windows - 1) * strides[i] - room)
    if found != pads and int(_get(node, "count_include_pad", 0)):
        raise UsageError(
            f"AveragePool {node.name!r} counts pads and rounds sizes up: set ceil_mode or count_include_pad to 0"
        )
    return found


def _transposed(node: onnx.NodeProto, lengths: tuple[int, ...], kernel: tuple[int, ...]) -> bool:
    rank = len(kernel)
    auto, wished = bytes(_get(node, "auto_pad", b"NOTSET")), _get(node, "output_shape", None)
    if auto == b"NOTSET" and wished is None:
        if any(
            e >= s for e, s in zip(_get(node, "output_padding", []), _get(node, "strides", [1] * rank), strict=False)
        ):
            raise UsageError(
                f"ConvTranspose {node.name!r} pads its output by a stride or more, which onnxruntime does not run: "
                "export it with output_padding below the strides"
            )
        return False
    if auto == b"VALID" and wished is None:
        _set(node, ("auto_pad",), pads=[0] * 2 * rank)
        return True
    strides, dilations = _get(node, "strides", [1] * rank), _get(node, "dilations", [1] * rank)
    extra = list(_get(node, "output_padding", [0] * rank))
    target = list(wished)[-rank:] if wished is not None else [lengths[i] * strides[i] for i in range(rank)]
    totals = []
    for i in range(rank):
        full = strides[i] * (lengths[i] - 1) + (kernel[i] - 1) * dilations[i] + 1
        # A size larger than what comes out is reached by cells that no window touches.
        extra[i] = max(extra[i], target[i] - full)
        totals.append(full + extra[i] - target[i])
    _set(node, ("auto_pad", "output_shape"), pads=_same(auto, totals), output_padding=extra)
    return True
