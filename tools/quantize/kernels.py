"""Operators in NumPy for the oracle, in place of those of onnx 1.23 that are wrong, incomplete or not in float64.

There, MaxPool gives wrong places at stride 1, GlobalMaxPool takes two axes whatever the rank, ConvTranspose fails with
some groups, MaxUnpool ignores the output shape, Mean does not broadcast its first input, LogSoftmax underflows, Erf
(and Gelu with it) has float32 precision, Pad takes no negative pads, and LpNormalization forgets the magnitude for
p = 1.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun

Array = npt.NDArray[Any]


def _taps(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in kernel))


def _within(spatial: Iterable[Any]) -> Any:
    """Return an index of the spatial axes, which are the last ones."""
    return (..., *spatial)


def _lattice(tap: Sequence[int], strides: Sequence[int], dilations: Sequence[int], counts: Sequence[int]) -> Any:
    """Return the cells that one tap of the kernel meets as the window moves, as an index of the spatial axes."""
    along = zip(tap, strides, dilations, counts, strict=True)
    return _within(slice(t * d, t * d + s * (n - 1) + 1, s) for t, s, d, n in along)


class MaxPool(OpRun):
    """Largest value of each window, and its place in the flat tensor: the first one in row-major order."""

    op_domain = ""

    def _run(self, x: Array, **attributes: Any) -> tuple[Array, ...]:
        kernel, rank = attributes["kernel_shape"], x.ndim - 2
        strides, dilations = attributes["strides"] or [1] * rank, attributes["dilations"] or [1] * rank
        pads = attributes["pads"] or [0] * 2 * rank
        border = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
        cells = np.pad(x, border, constant_values=-np.inf)
        places = np.pad(np.arange(x.size).reshape(x.shape), border, constant_values=-1)
        counts = [(cells.shape[a + 2] - (kernel[a] - 1) * dilations[a] - 1) // strides[a] + 1 for a in range(rank)]
        windows = [_lattice(tap, strides, dilations, counts) for tap in _taps(kernel)]
        values = np.stack([cells[window] for window in windows])
        chosen = values.argmax(axis=0)[None]
        found = np.take_along_axis(np.stack([places[window] for window in windows]), chosen, 0)[0]
        return (np.take_along_axis(values, chosen, 0)[0], found)[: len(self.onnx_node.output)]


class GlobalMaxPool(OpRun):
    """Largest value of each channel."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class MaxUnpool(OpRun):
    """Values put back into their places in zeros of a given shape."""

    op_domain = ""

    def _run(self, x: Array, places: Array, shape: Array, **_attributes: Any) -> tuple[Array]:
        found = np.zeros(math.prod(shape.tolist()), x.dtype)
        found[places.reshape(-1)] = x.reshape(-1)
        return (found.reshape(tuple(shape)),)


class ConvTranspose(OpRun):
    """Each cell of x spreads over a window of y, weighted by the kernel; pads are explicit."""

    op_domain = ""

    def _run(self, x: Array, w: Array, b: Array | None = None, **attributes: Any) -> tuple[Array]:
        group, kernel, rank = attributes["group"] or 1, w.shape[2:], x.ndim - 2
        strides, dilations = attributes["strides"] or [1] * rank, attributes["dilations"] or [1] * rank
        pads, extra = attributes["pads"] or [0] * 2 * rank, attributes["output_padding"] or [0] * rank
        rows, channels, *counts = x.shape
        sizes = [strides[a] * (counts[a] - 1) + extra[a] + (kernel[a] - 1) * dilations[a] + 1 for a in range(rank)]
        split = x.reshape(rows, group, channels // group, *counts)
        weights = w.reshape(group, channels // group, w.shape[1], *kernel)
        full = np.zeros((rows, group, w.shape[1], *sizes), x.dtype)
        for tap in _taps(kernel):
            cells = _lattice(tap, strides, dilations, counts)
            full[cells] += np.einsum("ngi...,gio->ngo...", split, weights[_within(tap)])
        inner = _within(slice(pads[a], sizes[a] - pads[a + rank]) for a in range(rank))
        found = full.reshape(rows, -1, *sizes)[inner]
        return (found if b is None else found + b.reshape(-1, *[1] * rank),)


class Mean(OpRun):
    """Mean of any number of tensors, which broadcast."""

    op_domain = ""

    def _run(self, *inputs: Array) -> tuple[Array]:
        return (sum(inputs[1:], inputs[0]) / len(inputs),)


class LogSoftmax(OpRun):
    """Logarithm of a softmax along one axis, without overflow or underflow."""

    op_domain = ""

    def _run(self, x: Array, axis: int = -1) -> tuple[Array]:
        centred = x - x.max(axis=axis, keepdims=True)
        return (centred - np.log(np.exp(centred).sum(axis=axis, keepdims=True)),)


_erf = np.vectorize(math.erf, otypes=[np.float64])


class Erf(OpRun):
    """The error function."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (_erf(x).astype(x.dtype) if x.size else x,)


class Gelu(OpRun):
    """X times the normal distribution at X, or an approximation of it by tanh."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + _erf(x / math.sqrt(2)).astype(x.dtype)),)


class Pad(OpRun):
    """A border of constants or of cells of x; a negative one cuts."""

    op_domain = ""

    def _run(
        self, x: Array, pads: Array, value: Array | None = None, axes: Array | None = None, mode: str = "constant"
    ) -> tuple[Array]:
        named = range(x.ndim) if axes is None else [int(axis) % x.ndim for axis in axes]
        borders = [(0, 0)] * x.ndim
        for place, axis in enumerate(named):
            borders[axis] = (int(pads[place]), int(pads[place + len(named)]))
        added = [(max(0, before), max(0, behind)) for before, behind in borders]
        settings = {"constant_values": 0 if value is None else value.reshape(()).item()} if mode == "constant" else {}
        full = np.pad(x, added, mode=mode, **settings)  # type: ignore[call-overload]
        cut = (slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(borders, full.shape, strict=True))
        return (full[tuple(cut)],)


class LpNormalization(OpRun):
    """A vector along one axis divided by its length."""

    op_domain = ""

    def _run(self, x: Array, axis: int = -1, p: int = 2) -> tuple[Array]:
        return (x / np.linalg.norm(x, ord=p, axis=axis, keepdims=True),)


KERNELS = (MaxPool, MaxUnpool, GlobalMaxPool, ConvTranspose, Mean, LogSoftmax, Erf, Gelu, Pad, LpNormalization)
