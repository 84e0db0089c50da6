"""The built-in model `gru:N`: N gated units over a sequence and a linear layer on their last state. Trains nothing.

Cho et al. 2014 (arXiv 1406.1078), equations 5 to 8, with the reset gate behind the product, as in cuDNN and PyTorch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.entropy import Entropy
from accord.errors import UsageError
from accord.runtimes import initial

WIDEST = 1024
"""Units. A training graph holds every step by itself, so a wide net over a long sequence is slow to load."""
LONGEST = 512
"""Steps."""


def gru(
    name: str, input_shape: tuple[int, ...], outputs: int, entropy: Entropy
) -> tuple[list[onnx.NodeProto], Mapping[str, npt.NDArray[Any]]]:
    """Return nodes from `x` to `outputs`, and their weights: uniform in ±1/√N as PyTorch's, Glorot's for the head.

    Args:
        name: `gru:64` and the like.
        input_shape: (steps, features).
        outputs: classes, or values per row.
        entropy: each tensor draws from its own child of it.

    Raises:
        UsageError: there is no such width, or the rows are no such sequences.
    """
    words = name.removeprefix("gru:")
    if not (words.isascii() and words.isdecimal() and words == str(int(words)) and 1 <= int(words) <= WIDEST):
        raise UsageError(f"model {name!r} is unknown: write gru:64, the number of units from 1 to {WIDEST}")
    if len(input_shape) != 2 or not 1 <= input_shape[0] <= LONGEST:
        raise UsageError(
            f"{name} takes sequences, not rows of shape {input_shape}: --input-shape steps,features "
            f"with at most {LONGEST} steps, each row in an array of (steps, features)"
        )
    units, features = int(words), input_shape[1]
    shapes = {"gru.w": (1, 3 * units, features), "gru.r": (1, 3 * units, units), "gru.b": (1, 6 * units)}
    tensors: dict[str, npt.NDArray[Any]] = {
        tensor: initial.uniform(shape, units**-0.5, entropy.child("initial", tensor))
        for tensor, shape in shapes.items()
    }
    tensors["head.weight"] = initial.glorot((units, outputs), units, outputs, entropy.child("initial", "head.weight"))
    tensors["head.bias"] = np.zeros(outputs, np.float32)
    tensors["gru.direction"] = np.array([0], np.int64)
    make = onnx.helper.make_node
    nodes = [
        make("Transpose", ["x"], ["steps"], name="steps", perm=[1, 0, 2]),
        make("GRU", ["steps", *shapes], ["", "gru.last"], name="gru", hidden_size=units, linear_before_reset=1),
        make("Squeeze", ["gru.last", "gru.direction"], ["state"], name="state"),
        make("Gemm", ["state", "head.weight", "head.bias"], ["outputs"], name="head"),
    ]
    return nodes, tensors
