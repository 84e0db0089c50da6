"""How a kernel moves over the spatial dimensions of its input: Conv and the pools share it. Writes no node."""

from dataclasses import dataclass

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
