"""Translations of Gemm and MatMul: BATCH_MATMUL, for matrices and for stacks of them."""

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import attribute
from quantize.tflite.graph import Tensor
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value, plain

SWAPPED = (1, 0)


def product(to: Translator, a: Value, b: Value, bias: Tensor | None = None) -> Value:
    """Return A·B (+ bias) of two matrices: (R, K) by (K, M).

    BATCH_MATMUL takes either with its axes swapped, so nothing is turned in memory. FULLY_CONNECTED wants K last in
    both, and takes two to three times as long where weights are inputs, in LiteRT and in tflite-runtime alike.
    """
    turned = [value.order == SWAPPED for value in (a, b)]
    tensors = [
        to.in_order(value, SWAPPED if swapped else (0, 1)) for value, swapped in zip((a, b), turned, strict=True)
    ]
    found = to.graph.add("BATCH_MATMUL", tensors, (a.shape[0], b.shape[1]), adjX=turned[0], adjY=turned[1])
    return plain(found) if bias is None else to.apply("ADD", plain(found), plain(bias))


@translation("Gemm")
def gemm(to: Translator, node: onnx.NodeProto) -> Value:
    """alpha·A'B' + beta·C."""
    a, b = (to.value(name) for name in node.input[:2])
    if int(attribute(node, "transA", 0)):
        a = to.moved(a, SWAPPED)
    if int(attribute(node, "transB", 0)):
        b = to.moved(b, SWAPPED)
    alpha, beta = float(attribute(node, "alpha", 1.0)), float(attribute(node, "beta", 1.0))
    if alpha != 1.0:
        b = to.apply("MUL", b, to.of(np.float32(alpha)))
    c = to.value(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if c is None:
        return product(to, a, b)
    if beta != 1.0:
        c = to.apply("MUL", c, to.of(np.float32(beta)))
    if c.shape in ((b.shape[1],), (1, b.shape[1])):
        return product(to, a, b, to.reshaped(to.plain(c), (b.shape[1],)))
    return to.apply("ADD", product(to, a, b), c)


@translation("MatMul")
def matmul(to: Translator, node: onnx.NodeProto) -> Value:
    """A·B over the last two axes."""
    a, b = (to.value(name) for name in node.input)
    if a.rank < 2 or b.rank < 2:
        raise UsageError(f"MatMul {node.name!r} takes a vector: write it as a matrix with one row or column")
    if a.rank == b.rank == 2:
        return product(to, a, b)
    shape = to.shape(node.output[0])
    if b.rank == 2:
        rows = to.reshape(a, (_rows(a.shape[:-1]), a.shape[-1]))
        return to.reshape(product(to, rows, b), shape)
    tensors, turned = [], []
    for value in (a, b):
        rank = value.rank
        straight = tuple(range(rank))
        flipped = (*straight[:-2], rank - 1, rank - 2)
        turned.append(value.order == flipped)
        tensors.append(to.in_order(value, flipped if turned[-1] else straight))
    if min(a.rank, b.rank) == 2:
        lead = (1,) * (max(a.rank, b.rank) - 2)
        tensors = [t if len(t.shape) > 2 else to.reshaped(t, lead + t.shape) for t in tensors]
    return plain(to.graph.add("BATCH_MATMUL", tensors, shape, adjX=turned[0], adjY=turned[1]))


def _rows(dims: tuple[int, ...]) -> int:
    rows = 1
    for dim in dims:
        rows *= dim
    return rows
