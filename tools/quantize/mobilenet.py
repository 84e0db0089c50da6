"""The built-in model `mobilenet:W`: MobileNet v1 at W percent of its width, with drawn weights. Trains nothing.

Howard et al. 2017 (arXiv 1704.04861), table 1, without batch norms: folded, they are the biases.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes import initial

Floats = npt.NDArray[np.float32]

SMALLEST = 32
"""Pixels of a side: there are five strides of two."""
STEM = 32
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Filters and stride of each depthwise-separable block at full width."""
WIDEST = 200  # percent
_MULTIPLE = 8


def mobilenet(
    name: str, input_shape: tuple[int, ...], outputs: int, entropy: Entropy
) -> tuple[list[onnx.NodeProto], Mapping[str, Floats]]:
    """Return nodes from `x` to `outputs`, and their weights: He's for what a ReLU6 follows, Glorot's for the head.

    Args:
        name: `mobilenet:25` and the like, the width in percent; channels are multiples of eight.
        input_shape: (channels, height, width), sides of 32 or more.
        outputs: classes, or values per row.
        entropy: each tensor draws from its own child of it.

    Raises:
        UsageError: there is no such width, or the rows are no such images.
    """
    words = name.removeprefix("mobilenet:")
    if not (words.isascii() and words.isdecimal() and words == str(int(words)) and 1 <= int(words) <= WIDEST):
        raise UsageError(f"model {name!r} is unknown: write mobilenet:25, the width in percent from 1 to {WIDEST}")
    if len(input_shape) != 3 or min(input_shape[1:]) < SMALLEST:
        raise UsageError(f"{name} takes images: --input-shape channels,height,width of {SMALLEST} or more")
    make, nodes = onnx.helper.make_node, []
    tensors: dict[str, Floats] = {"relu6.low": np.array(0, np.float32), "relu6.high": np.array(6, np.float32)}

    sides = list(input_shape[1:])

    def convolved(source: str, step: str, shape: tuple[int, int, int, int], stride: int, group: int) -> str:
        weight, bias, kernel = f"{step}.weight", f"{step}.bias", shape[2]
        taps = [_taps(side, kernel, stride) for side in sides]
        sides[:] = [-(-side // stride) for side in sides]
        read = max(1, round(shape[1] * taps[0] * taps[1]))
        tensors[weight] = initial.he(shape, read, entropy.child("initial", weight))
        tensors[bias] = np.zeros(shape[0], np.float32)
        form: dict[str, Any] = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, "strides": [stride] * 2}
        nodes.append(make("Conv", [source, weight, bias], [step], name=step, group=group, **form))
        nodes.append(make("Clip", [step, "relu6.low", "relu6.high"], [f"{step}.relu6"], name=f"{step}.relu6"))
        return f"{step}.relu6"

    width = _channels(STEM, int(words))
    source = convolved("x", "stem", (width, input_shape[0], 3, 3), 2, 1)
    for place, (filters, stride) in enumerate(SEPARABLE, 1):
        source = convolved(source, f"block{place}.depthwise", (width, 1, 3, 3), stride, width)
        wide = _channels(filters, int(words))
        source = convolved(source, f"block{place}.pointwise", (wide, width, 1, 1), 1, 1)
        width = wide
    tensors["head.weight"] = initial.glorot((width, outputs), width, outputs, entropy.child("initial", "head.weight"))
    tensors["head.bias"] = np.zeros(outputs, np.float32)
    nodes += [
        make("GlobalAveragePool", [source], ["pool"], name="pool"),
        make("Flatten", ["pool"], ["flatten"], name="flatten"),
        make("Gemm", ["flatten", "head.weight", "head.bias"], ["outputs"], name="head"),
    ]
    return nodes, tensors


def _taps(side: int, kernel: int, stride: int) -> float:
    """Return how many pixels of a row a kernel reads on average: on small images half of it lies on the border.

    Without batch norms, a signal whose weights were drawn for the whole kernel would fade from block to block.
    """
    half = kernel // 2
    read = [min(side, at + half + 1) - max(0, at - half) for at in range(0, side, stride)]
    return sum(read) / len(read)


def _channels(filters: int, percent: int) -> int:
    """Return the filters at a width: the nearest multiple of eight, and eight at least."""
    return max(_MULTIPLE, _MULTIPLE * round(filters * percent / 100 / _MULTIPLE))
