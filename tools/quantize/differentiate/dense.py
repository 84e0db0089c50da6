"""Gradients of Gemm and MatMul."""

from collections.abc import Mapping

import onnx

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


@rule("Gemm")
def gemm(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = alpha·A'B' + beta·C: dA' = alpha·dY B'ᵀ, dB' = alpha·A'ᵀ dY, dC = beta·(dY summed to C's shape).

    A' is A, or Aᵀ with transA; then dA = (dA')ᵀ.
    """
    a, b = node.input[0], node.input[1]
    alpha = float(attribute(node, "alpha", 1.0))
    trans_a, trans_b = int(attribute(node, "transA", 0)), int(attribute(node, "transB", 0))
    found = {}
    if tape.wanted(a):
        if trans_a:
            found[0] = tape.add("Gemm", b, slope, alpha=alpha, transA=trans_b, transB=1)
        else:
            found[0] = tape.add("Gemm", slope, b, alpha=alpha, transA=0, transB=1 - trans_b)
    if tape.wanted(b):
        if trans_b:
            found[1] = tape.add("Gemm", slope, a, alpha=alpha, transA=1, transB=trans_a)
        else:
            found[1] = tape.add("Gemm", a, slope, alpha=alpha, transA=1 - trans_a, transB=0)
    if len(node.input) > 2 and node.input[2] and tape.wanted(node.input[2]):
        beta = float(attribute(node, "beta", 1.0))
        found[2] = tape.as_summed(slope, tape.shape(node.output[0]), tape.shape(node.input[2]))
        if beta != 1.0:
            found[2] = tape.add("Mul", found[2], tape.number(beta))
    return found


@rule("MatMul")
def matmul(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = A B over the last two axes: dA = dY Bᵀ, dB = Aᵀ dY, each summed over broadcast axes.

    Where B is a plain matrix, all leading axes of A are rows: one product.
    """
    a, b = node.input
    shapes = tape.shape(a), tape.shape(b), tape.shape(node.output[0])
    if len(shapes[0]) < 2 or len(shapes[1]) < 2:
        raise UsageError(f"MatMul {node.name!r} takes a vector: write it as a matrix with one row or column")
    found = {}
    if tape.wanted(a):
        da = tape.add("MatMul", slope, _transposed(tape, b, len(shapes[1])))
        found[0] = tape.as_summed(da, (*shapes[2][:-2], *shapes[0][-2:]), shapes[0])
    if tape.wanted(b):
        if len(shapes[1]) == 2:
            rows = [_as_rows(tape, name, shape[-1], len(shape)) for name, shape in ((a, shapes[0]), (slope, shapes[2]))]
            found[1] = tape.add("Gemm", *rows, transA=1, transB=0)
        else:
            db = tape.add("MatMul", _transposed(tape, a, len(shapes[0])), slope)
            found[1] = tape.as_summed(db, (*shapes[2][:-2], *shapes[1][-2:]), shapes[1])
    return found


def _transposed(tape: Tape, name: str, rank: int) -> str:
    return tape.add("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def _as_rows(tape: Tape, name: str, width: int | None, rank: int) -> str:
    if rank == 2:
        return name
    if width is None:
        raise UsageError(f"the last dimension of {name!r} is not known")
    return tape.add("Reshape", name, tape.whole(-1, width))
