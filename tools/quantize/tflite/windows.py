"""How a window of ONNX moves over an image in TFLite, and how cells are spread apart. Translates no operator.

Images are values of shape (N, C, H, W) that lie as (N, H, W, C).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.graph import Shape
from quantize.tflite.shaping import bordered, joined
from quantize.tflite.translator import Order, Translator, Value

LAST: Order = (0, 2, 3, 1)
"""Channels last."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window over height and width; `pads` are (before, behind) of each."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    def reach(self, place: int) -> int:
        """How many cells the dilated kernel spans along one axis."""
        return (self.kernel[place] - 1) * self.dilations[place] + 1


def image_of(to: Translator, value: Value, what: str) -> Value:
    """Return an image, or a sequence (N, C, L) as an image of width 1.

    Raises:
        UsageError: another rank.
    """
    if value.rank == 3:
        return to.reshape(value, (*value.shape, 1))
    if value.rank != 4:
        raise UsageError(f"{what} works on {value.rank - 2} spatial axes; TFLite translations are there for 1 and 2")
    return value


def window_of(node: onnx.NodeProto, kernel: Sequence[int], sizes: Sequence[int]) -> Window:
    """Return the window of a Conv, ConvTranspose or pooling node; a second axis of 1 is added to one.

    Args:
        node: the node.
        kernel: its sizes.
        sizes: of the image that goes in, one or two.
    """
    rank = len(kernel)
    strides = list(attribute(node, "strides", [1] * rank))
    dilations = list(attribute(node, "dilations", [1] * rank))
    flat = list(attribute(node, "pads", [0] * 2 * rank))
    pads = [(flat[place], flat[place + rank]) for place in range(rank)]
    auto = bytes(attribute(node, "auto_pad", b"NOTSET"))
    if auto.startswith(b"SAME"):
        pads = []
        for place in range(rank):
            reach = (kernel[place] - 1) * dilations[place] + 1
            total = max(0, (-(-sizes[place] // strides[place]) - 1) * strides[place] + reach - sizes[place])
            less, more = total // 2, total - total // 2
            pads.append((less, more) if auto == b"SAME_UPPER" else (more, less))
    elif auto == b"VALID":
        pads = [(0, 0)] * rank
    if int(attribute(node, "ceil_mode", 0)):
        raise UsageError(
            f"{node.op_type} {node.name!r} rounds sizes up (ceil_mode), which has no translation to TFLite"
        )
    one = rank == 1
    return Window(
        kernel=(kernel[0], 1 if one else kernel[1]),
        strides=(strides[0], 1 if one else strides[1]),
        dilations=(dilations[0], 1 if one else dilations[1]),
        pads=(pads[0], (0, 0) if one else pads[1]),
    )


def padded(to: Translator, x: Value, window: Window, fill: float = 0.0) -> tuple[Value, int]:
    """Return the image and TFLite's word for its padding: SAME (0) where that means the same pads, else VALID (1)."""
    same = True
    for place in (0, 1):
        size, stride = x.shape[2 + place], window.strides[place]
        total = max(0, (-(-size // stride) - 1) * stride + window.reach(place) - size)
        same = same and window.pads[place] == (total // 2, total - total // 2)
    if same:
        return x, 0
    image = Value(tensor=to.in_order(x, LAST), order=LAST)
    return bordered(to, image, {2: window.pads[0], 3: window.pads[1]}, fill), 1


def strided(window: Window, padding: int, *, dilated: bool = True) -> dict[str, Any]:
    """Return the options that all operators with windows have."""
    options: dict[str, Any] = {"padding": padding, "strideH": window.strides[0], "strideW": window.strides[1]}
    if dilated:
        options |= {"dilationHFactor": window.dilations[0], "dilationWFactor": window.dilations[1]}
    return options


def counted(x: Value, window: Window) -> tuple[int, int]:
    """Return how many windows fit along height and width."""
    found = []
    for place in (0, 1):
        free = x.shape[2 + place] + sum(window.pads[place]) - window.reach(place)
        found.append(free // window.strides[place] + 1)
    return found[0], found[1]


def woven(to: Translator, taps: Sequence[Sequence[Value]], strides: tuple[int, int]) -> Value:
    """Return the image (N, C, H·s, W·t) that holds cell (p, q) of `taps[i][j]` at (p·s + i, q·t + j), zeros elsewhere.

    Cells that lie side by side in a block become channels, and the channels are read as cells: nothing is scattered.

    Args:
        to: the translator.
        taps: images (N, C, H, W): at most s rows of at most t.
        strides: s and t.
    """
    rows, channels, height, width = taps[0][0].shape
    lines = []
    for line in taps:
        cells = joined(to, [Value(tensor=to.in_order(tap, LAST), order=LAST) for tap in line], 1)
        cells = bordered(to, cells, {1: (0, (strides[1] - len(line)) * channels)})
        lines.append(_as_lines(to, cells, (rows, height, width * strides[1] * channels)))
    block = joined(to, lines, 2)
    behind = (strides[0] - len(lines)) * width * strides[1] * channels
    block = bordered(to, block, {2: (0, behind)})
    tensor = to.reshaped(to.plain(block), (rows, height * strides[0], width * strides[1], channels))
    return Value(tensor=tensor, order=LAST)


def _as_lines(to: Translator, cells: Value, shape: Shape) -> Value:
    return Value(tensor=to.reshaped(to.in_order(cells, LAST), shape), order=(0, 1, 2))
