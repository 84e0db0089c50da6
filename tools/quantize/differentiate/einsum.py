"""Gradient of Einsum, which is an Einsum again."""

from collections.abc import Mapping

import onnx

from accord.errors import UsageError
from quantize.differentiate.registry import rule
from quantize.differentiate.tape import Tape, attribute


@rule("Einsum")
def einsum(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
    """Y = sum over the letters that Y has not, of A·B·...: dA = the Einsum of dY and all others, with A's letters out.

    A letter of A that neither Y nor another operand has was summed alone: dA is the same along it. Refused: a letter
    twice in one operand (a diagonal), and one letter for two lengths (broadcasting).
    """
    operands, result = _letters(tape, node)
    lengths: dict[str, int | None] = {}
    for name, letters in zip(node.input, operands, strict=True):
        if len(set(letters)) != len(letters):
            raise UsageError(f"Einsum {node.name!r} takes a diagonal ({letters} names an axis twice): use a Gather")
        for letter, dim in zip(letters, tape.shape(name), strict=True):
            if lengths.setdefault(letter, dim) != dim:
                raise UsageError(f"Einsum {node.name!r} broadcasts {letter} from {lengths[letter]} to {dim}: use a Mul")
    found = {}
    for place, (name, letters) in enumerate(zip(node.input, operands, strict=True)):
        if not tape.wanted(name):
            continue
        others = [other for other in range(len(operands)) if other != place]
        present = set(result).union(*(operands[other] for other in others))
        kept = "".join(letter for letter in letters if letter in present)
        terms = ",".join([result, *(operands[other] for other in others)])
        inner = tape.add("Einsum", slope, *(node.input[other] for other in others), equation=f"{terms}->{kept}")
        alone = [axis for axis, letter in enumerate(letters) if letter not in present]
        if alone:
            inner = tape.add("Expand", tape.add("Unsqueeze", inner, tape.whole(*alone)), tape.add("Shape", name))
        found[place] = inner
    return found


def _letters(tape: Tape, node: onnx.NodeProto) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, with those that an ellipsis stands for."""
    equation = bytes(attribute(node, "equation", b"")).decode().replace(" ", "")
    left, arrow, right = equation.partition("->")
    free = [letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter not in equation]
    operands, dots = [], ""
    for name, term in zip(node.input, left.split(","), strict=True):
        stands_for = "".join(free[: len(tape.shape(name)) - len(term.replace("...", ""))])
        if "..." in term:
            if dots and len(dots) != len(stands_for):
                raise UsageError(
                    f"Einsum {node.name!r}: ... stands for {len(dots)} axes here and {len(stands_for)} there"
                )
            dots = stands_for
        operands.append(term.replace("...", stands_for))
    if not arrow:
        every = "".join(operands).replace(dots, "") if dots else "".join(operands)
        right = dots + "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    return operands, right.replace("...", dots)
