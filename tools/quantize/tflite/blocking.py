"""Translations of Resize, of operators between blocks of cells and channels, and of products over any axes."""

import math

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.differentiate.resizing import resizing_matrix
from quantize.differentiate.tape import attribute
from quantize.tflite.dense import product
from quantize.tflite.graph import Shape
from quantize.tflite.reductions import reduced
from quantize.tflite.shaping import picked
from quantize.tflite.table import translation
from quantize.tflite.translator import Translator, Value, plain


@translation("DepthToSpace")
def depth_to_space(to: Translator, node: onnx.NodeProto) -> Value:
    """Channels become blocks of cells: a reshape, a transposition, a reshape."""
    x, block = to.value(node.input[0]), int(attribute(node, "blocksize", 0))
    rows, channels, height, width = x.shape
    depth = channels // block**2
    if bytes(attribute(node, "mode", b"DCR")) == b"DCR":
        split, perm = (rows, block, block, depth, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (rows, depth, block, block, height, width), (0, 1, 4, 2, 5, 3)
    return to.reshape(to.moved(to.reshape(x, split), perm), (rows, depth, height * block, width * block))


@translation("SpaceToDepth")
def space_to_depth(to: Translator, node: onnx.NodeProto) -> Value:
    """Blocks of cells become channels: a reshape, a transposition, a reshape."""
    x, block = to.value(node.input[0]), int(attribute(node, "blocksize", 0))
    rows, channels, height, width = x.shape
    high, wide = height // block, width // block
    split = to.reshape(x, (rows, channels, high, block, wide, block))
    return to.reshape(to.moved(split, (0, 3, 5, 1, 2, 4)), (rows, channels * block**2, high, wide))


@translation("Resize", reads=(0,))
def resize(to: Translator, node: onnx.NodeProto) -> Value:
    """Along each axis a product with the matrix of its mode; where that only repeats or leaves out cells, GATHER."""
    found, before, after = to.value(node.input[0]), to.shape(node.input[0]), to.shape(node.output[0])
    for axis, (size, length) in enumerate(zip(before, after, strict=True)):
        if size == length:
            continue
        if size < 0:
            raise UsageError(f"Resize {node.name!r} changes the batch, which has no translation to TFLite")
        given = to.fixed(node.input[2], "the scales").reshape(-1) if len(node.input) > 2 and node.input[2] else None
        matrix = resizing_matrix(node, axis, len(before), (size, length), given)
        if np.array_equal(matrix, np.eye(size)[matrix.argmax(axis=1)]):
            found = picked(to, found, matrix.argmax(axis=1), axis)
            continue
        last = [place for place in range(len(before)) if place != axis] + [axis]
        line = to.moved(found, last)
        rows = to.reshape(line, (math.prod(line.shape[:-1]), size))
        wide = product(to, rows, to.of(matrix.T))
        found = to.moved(
            to.reshape(wide, (*line.shape[:-1], length)), [last.index(place) for place in range(len(before))]
        )
    return found


@translation("Einsum")
def einsum(to: Translator, node: onnx.NodeProto) -> Value:
    """SUM over axes that only one value has; of two values BATCH_MATMUL over the axes that both have, and so on."""
    equation = bytes(attribute(node, "equation", b"")).decode().replace(" ", "")
    terms, _, target = equation.partition("->")
    names = terms.split(",")
    if "->" not in equation:
        target = "".join(letter for letter in sorted(set(terms) - {","}) if terms.count(letter) == 1)
    if "." in equation or any(len(set(term)) != len(term) for term in (*names, target)):
        raise UsageError(f"Einsum {node.name!r} of {equation!r} has no translation to TFLite: write its axes out")
    found, term = to.value(node.input[0]), names[0]
    for at, name in enumerate(names):
        rest = set("".join(names[at + 1 :]) + target)
        if at == 0:
            found, term = _kept(to, found, term, rest)
            continue
        other = _kept(to, to.value(node.input[at]), name, rest | set(term))
        found, term = _product(to, (found, term), other, rest)
    return to.moved(found, [term.index(letter) for letter in target])


def _kept(to: Translator, value: Value, term: str, wanted: set[str]) -> tuple[Value, str]:
    """Sum over the axes that nobody else has."""
    gone = [place for place, letter in enumerate(term) if letter not in wanted]
    if gone:
        value = reduced(to, "SUM", value, gone, keep=False)
    return value, "".join(letter for letter in term if letter in wanted)


def _product(to: Translator, left: tuple[Value, str], right: tuple[Value, str], wanted: set[str]) -> tuple[Value, str]:
    """Return the product of two values, summed over the axes that both have and nobody wants after."""
    (a, a_term), (b, b_term) = left, right
    both = [letter for letter in a_term if letter in b_term and letter in wanted]
    gone = [letter for letter in a_term if letter in b_term and letter not in wanted]
    ours = [letter for letter in a_term if letter not in b_term]
    theirs = [letter for letter in b_term if letter not in a_term]
    sizes = dict(zip(a_term + b_term, a.shape + b.shape, strict=True))
    lead: Shape = tuple(sizes[letter] for letter in both)
    rows, inner, columns = (math.prod(sizes[letter] for letter in part) for part in (ours, gone, theirs))
    stack = (math.prod(lead),)
    x = to.reshape(to.moved(a, [a_term.index(letter) for letter in (*both, *ours, *gone)]), (*stack, rows, inner))
    y = to.reshape(to.moved(b, [b_term.index(letter) for letter in (*both, *gone, *theirs)]), (*stack, inner, columns))
    tensor = to.graph.add("BATCH_MATMUL", [to.plain(x), to.plain(y)], (*stack, rows, columns), adjX=False, adjY=False)
    shape = (*lead, *(sizes[letter] for letter in (*ours, *theirs)))
    return to.reshape(plain(tensor), shape), "".join((*both, *ours, *theirs))
