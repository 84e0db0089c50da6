"""Initial weights drawn from entropy, and the scale exponents that go with them. Knows no model."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from accord.entropy import Entropy
from accord.tensors import Layout, Vector

Floats = npt.NDArray[np.float32]

SMALLEST_EXPONENT = -1
"""A round may move any tensor, and a bias that starts at zero too, by at least ±1/2."""


def uniform(shape: tuple[int, ...], bound: float, entropy: Entropy) -> Floats:
    """Return float32 of `shape`, uniform in ±bound; 32 bits are drawn for each."""
    drawn = np.frombuffer(entropy(4 * math.prod(shape)), "<u4").astype(np.float64)
    return (((drawn + 0.5) * 2.0**-31 - 1.0) * bound).astype(np.float32).reshape(shape)


def he(shape: tuple[int, ...], fan_in: int, entropy: Entropy) -> Floats:
    """Weights before a ReLU: variance 2 / fan_in (He et al. 2015, section 2.2)."""
    return uniform(shape, math.sqrt(6 / fan_in), entropy)


def glorot(shape: tuple[int, ...], fan_in: int, fan_out: int, entropy: Entropy) -> Floats:
    """Weights before the loss: variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, equation 16)."""
    return uniform(shape, math.sqrt(6 / (fan_in + fan_out)), entropy)


def dense_stack(widths: tuple[int, ...], entropy: Entropy) -> dict[str, Floats]:
    """Return weights (in, out) and zero biases of dense layers with ReLU between: `dense1.weight`, `dense1.bias`, ...

    Args:
        widths: inputs, hidden layers, outputs.
        entropy: each tensor draws from its own child of it.
    """
    tensors: dict[str, Floats] = {}
    last = len(widths) - 1
    for place in range(1, len(widths)):
        inputs, outputs = widths[place - 1], widths[place]
        source = entropy.child("initial", f"dense{place}.weight")
        shape = (inputs, outputs)
        weight = glorot(shape, inputs, outputs, source) if place == last else he(shape, inputs, source)
        tensors[f"dense{place}.weight"] = weight
        tensors[f"dense{place}.bias"] = np.zeros(outputs, np.float32)
    return tensors


def exponents(layout: Layout, params: Vector) -> tuple[int, ...]:
    """Return for each tensor the power of two that one round's update is expected to stay under: twice its peak."""
    values: Mapping[str, Vector] = layout.views(params)
    found = []
    for name, _ in layout.tensors:
        peak = float(np.abs(values[name]).max())
        found.append(max(SMALLEST_EXPONENT, min(60, math.ceil(math.log2(peak)) + 1)) if peak else SMALLEST_EXPONENT)
    return tuple(found)
