"""How a kernel moves over the spatial dimensions of its input: Conv and the pools share it. Writes no node."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from quantize.differentiate.tape import attribute


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

    @property
    def attributes(self) -> dict[str, list[int]]:
        """What a Conv or a ConvTranspose of this window says of it."""
        return {
            "kernel_shape": list(self.kernel),
            "strides": list(self.strides),
            "dilations": list(self.dilations),
            "pads": list(self.pads),
        }

    def reach(self, place: int) -> int:
        """How many cells the dilated kernel spans along one dimension."""
        return (self.kernel[place] - 1) * self.dilations[place] + 1

    def count(self, place: int, size: int) -> int:
        """How many windows fit along one dimension."""
        return (size + self.pads[place] + self.pads[place + self.rank] - self.reach(place)) // self.strides[place] + 1

    def leftover(self, place: int, size: int) -> int:
        """How many cells at the end no window touches."""
        return (size + self.pads[place] + self.pads[place + self.rank] - self.reach(place)) % self.strides[place]


def window_of(node: onnx.NodeProto, kernel: tuple[int, ...]) -> Window:
    """Return the window of a Conv, a ConvTranspose or a pooling node, whose pads `read_network` made explicit."""
    rank = len(kernel)
    return Window(
        kernel=kernel,
        strides=tuple(attribute(node, "strides", [1] * rank)),
        dilations=tuple(attribute(node, "dilations", [1] * rank)),
        pads=tuple(attribute(node, "pads", [0] * 2 * rank)),
    )


def pairs_of(window: Window, sizes: tuple[int, ...], counts: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return (taps, input cells, output cells): 1 where a tap of the kernel leads from a cell to a cell, else 0.

    Args:
        window: of as many dimensions as the map.
        sizes: of the input.
        counts: of the output.
    """
    taps = list(itertools.product(*(range(size) for size in window.kernel)))
    found = np.zeros((len(taps), *sizes, *counts), np.float32)
    for place, tap in enumerate(taps):
        for target in itertools.product(*(range(count) for count in counts)):
            moves = zip(target, window.strides, tap, window.dilations, window.pads[: window.rank], strict=True)
            source = tuple(p * s + k * d - before for p, s, k, d, before in moves)
            if all(0 <= cell < size for cell, size in zip(source, sizes, strict=True)):
                found[(place, *source, *target)] = 1.0
    return found.reshape(len(taps), math.prod(sizes), math.prod(counts))
