"""How a kernel moves over the spatial dimensions of its input: Conv and the pools share it. Writes no node."""

import math
from dataclasses import dataclass

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import Tape, attribute


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a kernel moves over the spatial dimensions; `pads` are those before, then those behind."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def rank(self) -> int:
        """Number of spatial dimensions."""
        return len(self.kernel)

    def reach(self, place: int) -> int:
        """How many cells the dilated kernel spans along one dimension."""
        return (self.kernel[place] - 1) * self.dilations[place] + 1

    def count(self, place: int, size: int) -> int:
        """How many windows fit along one dimension."""
        return (size + self.pads[place] + self.pads[place + self.rank] - self.reach(place)) // self.strides[place] + 1

    def leftover(self, place: int, size: int) -> int:
        """How many cells at the end no window touches."""
        return (size + self.pads[place] + self.pads[place + self.rank] - self.reach(place)) % self.strides[place]


def window_of(tape: Tape, node: onnx.NodeProto, kernel: tuple[int, ...]) -> Window:
    """Return the window of a Conv or a pooling node.

    Raises:
        UsageError: SAME_LOWER or SAME_UPPER with unknown sizes, or ceil_mode.
    """
    rank = len(kernel)
    strides = tuple(attribute(node, "strides", [1] * rank))
    dilations = tuple(attribute(node, "dilations", [1] * rank))
    pads = tuple(attribute(node, "pads", [0] * 2 * rank))
    auto = bytes(attribute(node, "auto_pad", b"NOTSET"))
    if auto.startswith(b"SAME"):
        sizes = tape.fixed_shape(node.input[0], 2)
        before, behind = [], []
        for place, size in enumerate(sizes):
            reach = (kernel[place] - 1) * dilations[place] + 1
            total = max(0, (math.ceil(size / strides[place]) - 1) * strides[place] + reach - size)
            before.append(total // 2 if auto == b"SAME_UPPER" else total - total // 2)
            behind.append(total - before[-1])
        pads = (*before, *behind)
    elif auto == b"VALID":
        pads = (0,) * 2 * rank
    if int(attribute(node, "ceil_mode", 0)):
        raise UsageError(f"{node.op_type} {node.name!r} rounds sizes up (ceil_mode): pad the input instead")
    return Window(kernel=kernel, strides=strides, dilations=dilations, pads=pads)
