"""The gradient of a convolution's weights, in the form that onnxruntime computes quickest for its shape.

All forms compute dW[m,c,k] = sum over n, p of dY[n,m,p] X[n,c,s·p + d·k - pad].
"""

import itertools
import math
from dataclasses import replace

import numpy as np

from quantize.differentiate.tape import Tape
from quantize.differentiate.window import Window, pairs_of

MANY_CHANNELS = 16
"""From here on one product per tap of the kernel beats one product over gathered patches."""
WIDEST_ROW = 64
"""Up to this many cells in a row, products of whole rows beat a sum over cells for each tap."""


def weight_slope(
    tape: Tape,
    x: str,
    slope: str,
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    *,
    window: Window,
    group: int,
) -> str:
    """Append the nodes for dW and return its name.

    Args:
        tape: where nodes go.
        x: the input's name, (N, C, ...).
        slope: dY, (N, M, *counts).
        shape: of the weights, (M, C / group, *kernel).
        sizes: of the input, (C, ...).
        window: the convolution's.
        group: its groups.
    """
    by_channel = group > 1 and shape[1] == 1
    if group > 1 and not by_channel:
        return _by_conv(tape, x, slope, shape, sizes, window=window, group=group)
    counts = tuple(window.count(place, size) for place, size in enumerate(sizes[1:]))
    if by_channel and shape[0] == group and sizes[-1] <= WIDEST_ROW:
        return _by_row(tape, x, slope, shape, sizes, window=window, counts=counts)
    padded = x
    if any(window.pads):
        before, behind = window.pads[: window.rank], window.pads[window.rank :]
        padded = tape.add("Pad", x, tape.whole(0, 0, *before, 0, 0, *behind))
    if by_channel:
        return _by_channel(tape, padded, slope, shape, window=window, counts=counts, channels=group)
    if shape[1] >= MANY_CHANNELS:
        return _by_tap(tape, padded, slope, shape, window=window, counts=counts)
    return _by_patches(tape, padded, slope, shape, window=window, counts=counts)


def _taps(tape: Tape, x: str, window: Window, counts: tuple[int, ...], first_axis: int) -> list[str]:
    """Slice out, for each tap of the kernel, the cells of x that it meets."""
    found = []
    for tap in itertools.product(*(range(size) for size in window.kernel)):
        starts = [t * d for t, d in zip(tap, window.dilations, strict=True)]
        ends = [a + s * (n - 1) + 1 for a, s, n in zip(starts, window.strides, counts, strict=True)]
        axes = range(first_axis, first_axis + window.rank)
        found.append(
            tape.add("Slice", x, tape.whole(*starts), tape.whole(*ends), tape.whole(*axes), tape.whole(*window.strides))
        )
    return found


def _by_patches(
    tape: Tape, x: str, slope: str, shape: tuple[int, ...], *, window: Window, counts: tuple[int, ...]
) -> str:
    """Gather all taps as channels, multiply by dY row by row of the batch, sum over the batch."""
    filters, channels, *kernel = shape
    taps = _taps(tape, x, window, counts, 2)
    gathered = tape.add("Concat", *taps, axis=1) if len(taps) > 1 else taps[0]
    cells = math.prod(counts)
    patches = tape.add("Reshape", gathered, tape.whole(-1, len(taps) * channels, cells))
    slopes = tape.add("Reshape", slope, tape.whole(-1, filters, cells))
    products = tape.add("MatMul", patches, tape.add("Transpose", slopes, perm=[0, 2, 1]))
    total = tape.add("ReduceSum", products, tape.whole(0), keepdims=0)
    return _filters_first(tape, total, filters, channels, kernel)


def _by_tap(tape: Tape, x: str, slope: str, shape: tuple[int, ...], *, window: Window, counts: tuple[int, ...]) -> str:
    """With channels last, one product of a tap's cells by dY for each tap."""
    filters, channels, *kernel = shape
    last = [0, *range(2, 2 + window.rank), 1]
    images = tape.add("Transpose", x, perm=last)
    slopes = tape.add("Reshape", tape.add("Transpose", slope, perm=last), tape.whole(-1, filters))
    products = []
    for tap in _taps(tape, images, window, counts, 1):
        rows = tape.add("Reshape", tap, tape.whole(-1, channels))
        products.append(tape.add("Gemm", rows, slopes, transA=1, transB=0))
    total = tape.add("Concat", *products, axis=0) if len(products) > 1 else products[0]
    return _filters_first(tape, total, filters, channels, kernel)


def _by_channel(
    tape: Tape, x: str, slope: str, shape: tuple[int, ...], *, window: Window, counts: tuple[int, ...], channels: int
) -> str:
    """With channels last, a tap's cells times dY, summed over rows and cells: each channel has kernels of its own."""
    filters, _, *kernel = shape
    last, several = [0, *range(2, 2 + window.rank), 1], filters // channels
    slopes = tape.add("Transpose", slope, perm=last)
    taps = _taps(tape, tape.add("Transpose", x, perm=last), window, counts, 1)
    axes, sums = tape.whole(*range(window.rank + 1)), []
    for place in range(several):
        part = slopes
        if several > 1:  # filter c·several + place is one of channel c
            bounds = (tape.whole(place), tape.whole(filters), tape.whole(window.rank + 1), tape.whole(several))
            part = tape.add("Slice", slopes, *bounds)
        sums += [tape.add("ReduceSum", tape.add("Mul", tap, part), axes, keepdims=0) for tap in taps]
    total = tape.add("Concat", *sums, axis=0) if len(sums) > 1 else sums[0]
    rank = len(kernel)
    whole = tape.add("Reshape", total, tape.whole(several, *kernel, channels))
    turned = tape.add("Transpose", whole, perm=[rank + 1, *range(rank + 1)])
    return tape.add("Reshape", turned, tape.whole(filters, 1, *kernel))


def _by_row(
    tape: Tape,
    x: str,
    slope: str,
    shape: tuple[int, ...],
    sizes: tuple[int, ...],
    *,
    window: Window,
    counts: tuple[int, ...],
) -> str:
    """With channels first, the rows that a tap's row meets times the rows of dY; of each product, sums of diagonals.

    The last dimension needs no border: pairs of cells of which one lies in it have no place in the sums.
    """
    channels, rank = shape[0], window.rank
    last = Window(
        kernel=window.kernel[-1:],
        strides=window.strides[-1:],
        dilations=window.dilations[-1:],
        pads=(window.pads[rank - 1], window.pads[-1]),
    )
    pairs = pairs_of(last, sizes[-1:], counts[-1:]).reshape(window.kernel[-1], -1)
    diagonals = tape.constant(pairs.T, np.float32)
    first = [1, 0, *range(2, 2 + rank)]
    images = tape.add("Transpose", x, perm=first)
    before, behind = window.pads[: rank - 1], window.pads[rank:-1]
    if any((*before, *behind)):
        images = tape.add("Pad", images, tape.whole(0, 0, *before, 0, 0, 0, *behind, 0))
    slopes = tape.add("Reshape", tape.add("Transpose", slope, perm=first), tape.whole(channels, -1, counts[-1]))
    sums = []
    others = replace(
        window, kernel=window.kernel[:-1], strides=window.strides[:-1], dilations=window.dilations[:-1], pads=()
    )
    for tap in _taps(tape, images, others, counts[:-1], 2) if rank > 1 else [images]:
        rows = tape.add("Reshape", tap, tape.whole(channels, -1, sizes[-1]))
        products = tape.add("MatMul", tape.add("Transpose", rows, perm=[0, 2, 1]), slopes)
        flat = tape.add("Reshape", products, tape.whole(channels, sizes[-1] * counts[-1]))
        sums.append(tape.add("MatMul", flat, diagonals))
    total = tape.add("Concat", *sums, axis=1) if len(sums) > 1 else sums[0]
    return tape.add("Reshape", total, tape.whole(*shape))


def _filters_first(tape: Tape, total: str, filters: int, channels: int, kernel: list[int]) -> str:
    """Turn (taps · C, M) into (M, C, *kernel)."""
    whole = tape.add("Reshape", total, tape.whole(*kernel, channels, filters))
    rank = len(kernel)
    return tape.add("Transpose", whole, perm=[rank + 1, rank, *range(rank)])


def _by_conv(
    tape: Tape, x: str, slope: str, shape: tuple[int, ...], sizes: tuple[int, ...], *, window: Window, group: int
) -> str:
    """Write dW as Conv with batch C/g, channels g·N, filters M: the rows of the batch become input channels."""
    channels, *cells = sizes
    spatial = list(range(2, 2 + window.rank))
    if group == 1:
        images = tape.add("Transpose", x, perm=[1, 0, *spatial])
    else:
        inner = channels // group
        split = tape.add("Reshape", x, tape.whole(-1, group, inner, *cells))
        turned = tape.add("Transpose", split, perm=[2, 1, 0, *(place + 1 for place in spatial)])
        images = tape.add("Reshape", turned, tape.whole(inner, -1, *cells))
    filters = tape.add("Transpose", slope, perm=[1, 0, *spatial])
    full = tape.add(
        "Conv",
        images,
        filters,
        strides=list(window.dilations),
        dilations=list(window.strides),
        pads=list(window.pads),
        group=group,
    )
    if any(window.leftover(place, size) for place, size in enumerate(cells)):
        ends = tape.whole(*shape[2:])
        full = tape.add("Slice", full, tape.whole(*[0] * window.rank), ends, tape.whole(*spatial))
    return tape.add("Transpose", full, perm=[1, 0, *spatial])
