"""One TFLite subgraph while it is written: tensors, constants kept once, operators in order. Packs no bytes.

Dimensions that follow the batch are negative: -k stands for k·N at N rows, and at most one dimension of a tensor does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

KINDS = {"float32": np.float32, "int32": np.int32, "bool": np.bool_, "int8": np.int8}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of the subgraph as it lies in memory; `data` is a constant's value."""

    index: int
    shape: Shape
    kind: str
    data: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Operator:
    """A builtin operator; a missing optional input is None."""

    name: str
    inputs: tuple[Tensor | None, ...]
    output: Tensor
    options: Mapping[str, Any]


class Graph:
    """A subgraph that grows.

    Args:
        name: the signature under which it is called.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}
        self._constants: dict[tuple[Any, ...], Tensor] = {}

    def _tensor(self, shape: Shape, kind: str, data: Array | None = None) -> Tensor:
        self.tensors.append(Tensor(index=len(self.tensors), shape=shape, kind=kind, data=data))
        return self.tensors[-1]

    def input(self, name: str, shape: Shape, kind: str) -> Tensor:
        """Append an input of the signature and return it."""
        self.inputs[name] = self._tensor(shape, kind)
        return self.inputs[name]

    def constant(self, value: npt.ArrayLike, kind: str = "float32") -> Tensor:
        """Return a constant; equal constants are one tensor."""
        array: Array = np.array(value, KINDS[kind], order="C")
        key = (kind, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._tensor(array.shape, kind, array)
        return self._constants[key]

    def add(self, name: str, inputs: Sequence[Tensor | None], shape: Shape, kind: str = "", **options: Any) -> Tensor:
        """Append an operator and return its output.

        Args:
            name: the builtin operator's, as in the schema: `CONV_2D`.
            inputs: in the schema's order.
            shape: the output's.
            kind: the output's; the first input's if empty.
            options: fields of the operator's options table that differ from their defaults.
        """
        first = inputs[0]
        assert first is not None
        output = self._tensor(shape, kind or first.kind)
        self.operators.append(Operator(name=name, inputs=tuple(inputs), output=output, options=options))
        return output

    def needed(self) -> tuple[list[Operator], list[Tensor]]:
        """Return the operators that the outputs depend on, and the tensors that they and the inputs use, in order."""
        wanted = {tensor.index for tensor in self.outputs.values()}
        kept = []
        for operator in reversed(self.operators):
            if operator.output.index in wanted:
                kept.append(operator)
                wanted.update(tensor.index for tensor in operator.inputs if tensor is not None)
        wanted.update(tensor.index for tensor in self.inputs.values())
        return kept[::-1], [tensor for tensor in self.tensors if tensor.index in wanted]
