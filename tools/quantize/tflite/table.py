"""The table of translations: ONNX operator to the function that spells it in TFLite's builtin operators. Holds none."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from accord.errors import UsageError
from quantize.tflite.translator import Translator, Value

Translation = Callable[[Translator, onnx.NodeProto], Value]
"""(translator, node) -> the value of the node's first output."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A translation, and the places of the inputs that it reads; None means all."""

    function: Translation
    reads: tuple[int, ...] | None

    def read(self, node: onnx.NodeProto) -> tuple[str, ...]:
        """Return the names of the inputs of a node that are read."""
        names = tuple(node.input)
        return names if self.reads is None else tuple(names[place] for place in self.reads)


_TABLE: dict[str, Entry] = {}


def translation(*operators: str, reads: tuple[int, ...] | None = None) -> Callable[[Translation], Translation]:
    """Enter a function as the translation of ONNX operators.

    Args:
        operators: their names.
        reads: the places of the inputs that the function asks for; those of shapes, which are known, are left out.
    """

    def enter(function: Translation) -> Translation:
        for operator in operators:
            _TABLE[operator] = Entry(function=function, reads=reads)
        return function

    return enter


def entry_of(node: onnx.NodeProto) -> Entry:
    """Return the entry of a node's operator.

    Raises:
        UsageError: there is none; the operator and the node are named.
    """
    found = _TABLE.get(node.op_type)
    if found is None:
        raise UsageError(
            f"operator {node.op_type} (node {node.name!r}) has no translation to TFLite: make the bundle without it; "
            f"there are translations of {', '.join(known_translations())}"
        )
    return found


def known_translations() -> tuple[str, ...]:
    """Return the operators that have a translation."""
    return tuple(sorted(_TABLE))
