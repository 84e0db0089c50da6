"""Where the maxima of a pool lie, found by comparing. Puts nothing back there.

onnxruntime's MaxPool is quick as long as nobody asks for its second output, and eight times slower else. A product of
comparisons finds the same places in half of that time, where windows of two by two cells tile the image.
"""

import math

import numpy as np
import onnx

from quantize.differentiate.tape import Tape
from quantize.differentiate.window import Window

_EXACT = 1 << 24
"""Whole numbers up to it are exact in float32."""


def tiles(tape: Tape, node: onnx.NodeProto, window: Window) -> bool:
    """Tell whether `places` can do a MaxPool: windows of 2 x 2 that cover every cell once."""
    sizes = tape.shape(node.input[0])[1:]
    if (window.kernel, window.strides, {*window.dilations}) != ((2, 2), (2, 2), {1}) or any(window.pads):
        return False
    known = [int(size) for size in sizes if size is not None]
    return len(known) == 3 and not any(size % 2 for size in known[1:]) and math.prod(known[1:]) <= _EXACT


def places(tape: Tape, node: onnx.NodeProto) -> str:
    """Append the nodes that give the flat place of the first largest cell of each window, int64 (N, C, H/2, W/2).

    A cell that equals its window's maximum has the number of cells behind it in its image as a code, any other has 0:
    the largest code of a window is that of its first maximum. Where nothing is equal (NaN) it is the image's last cell.
    """
    x, y = node.input[0], node.output[0]
    channels, height, width = tape.fixed_shape(x, 1)
    cells = height * width
    twice = tape.constant([1.0, 1.0, 2.0, 2.0], np.float32)
    # The one way of repeating cells for which onnxruntime has a quick loop: nearest, asymmetric, floor, by 2.
    spread = tape.add(
        "Resize", y, "", twice, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    behind = tape.constant(np.arange(cells)[::-1].reshape(1, 1, height, width), np.float32)
    equal = tape.add("Cast", tape.add("Equal", x, spread), to=onnx.TensorProto.FLOAT)
    codes = tape.add("MaxPool", tape.add("Mul", equal, behind), kernel_shape=[2, 2], strides=[2, 2])
    last = tape.add("Range", tape.constant(cells - 1, np.int64), tape.add("Size", x), tape.constant(cells, np.int64))
    images = tape.add("Reshape", last, tape.whole(-1, channels, 1, 1))
    return tape.add("Sub", images, tape.add("Cast", codes, to=onnx.TensorProto.INT64))
