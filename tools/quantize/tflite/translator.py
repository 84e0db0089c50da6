"""The state of one translation: what each ONNX tensor has become, in which order its axes lie. Knows no ONNX operator.

ONNX keeps channels first and TFLite last. No axis is moved until an operator needs it: a `Value` is a tensor together
with the order of its axes in memory, a transposition of it is the same tensor with another order, and sums, products
and reshapes work on the order that is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.errors import UsageError
from quantize.tflite.blocks import carried
from quantize.tflite.graph import Graph, Shape, Tensor
from quantize.tflite.measuring import Measured, cells

Order = tuple[int, ...]
Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Value:
    """A tensor of the ONNX graph: axis `order[i]` of it is axis i of `tensor`, as it lies in memory."""

    tensor: Tensor
    order: Order

    @property
    def shape(self) -> Shape:
        """The shape in ONNX's order."""
        found = [0] * len(self.order)
        for axis, dim in zip(self.order, self.tensor.shape, strict=True):
            found[axis] = dim
        return tuple(found)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.order)

    def place(self, axis: int) -> int:
        """Return where an axis, which may count from the end, lies in memory."""
        return self.order.index(axis % self.rank)


class Translator:
    """A TFLite graph that grows along with the nodes of an ONNX graph.

    Args:
        graph: receives tensors and operators.
        facts: of every tensor of the ONNX graph.
        nodes: of the ONNX graph, all that will be translated.
    """

    def __init__(self, graph: Graph, facts: Mapping[str, Measured], nodes: Sequence[onnx.NodeProto]) -> None:
        self.graph = graph
        self._facts = facts
        self._values: dict[str, Value] = {}
        self._makers = {name: node for node in nodes for name in node.output}
        self._wholes: dict[str, Value] = {}
        self._turned: dict[tuple[int, Order], Tensor] = {}

    def keep(self, name: str, value: Value) -> None:
        """Enter what a tensor of the ONNX graph has become."""
        self._values[name] = value

    def remember(self, name: str, whole: Value) -> None:
        """Enter what a tensor was before it was written as a line of cells."""
        self._wholes[name] = whole

    def whole_of(self, name: str) -> Value | None:
        """Return what a tensor was before it was written as a line of cells, if it was."""
        return self._wholes.get(name)

    def known(self, name: str) -> Array | None:
        """Return the value of a tensor that depends on no input."""
        return self._facts[name].value

    def fixed(self, name: str, what: str) -> Array:
        """Return the value of a tensor that must depend on no input.

        Raises:
            UsageError: it does depend on one.
        """
        found = self.known(name)
        if found is None:
            raise UsageError(f"{what} {name!r} is computed when the model runs, which TFLite can't follow: fix it")
        return found

    def shape(self, name: str) -> Shape:
        """Return the shape of an ONNX tensor, -k for k·N."""
        return self._facts[name].shape

    def maker(self, name: str) -> onnx.NodeProto | None:
        """Return the node that computes a tensor."""
        return self._makers.get(name)

    def value(self, name: str) -> Value:
        """Return what an ONNX tensor has become."""
        if name not in self._values:
            self._values[name] = self.of(self.fixed(name, "the tensor"))
        return self._values[name]

    def of(self, array: npt.ArrayLike) -> Value:
        """Return a constant: floats as float32, whole numbers as int32."""
        data = np.asarray(array)
        kind = {"b": "bool", "i": "int32", "u": "int32"}.get(data.dtype.kind, "float32")
        if kind == "int32":
            data = np.clip(data, -(2**31), 2**31 - 1)
        return plain(self.graph.constant(data, kind))

    def whole(self, values: Sequence[int]) -> Tensor:
        """Return a constant int32 vector, such as axes."""
        return self.graph.constant(values, "int32")

    def in_order(self, value: Value, order: Order) -> Tensor:
        """Return the tensor with its axes lying in `order`, moved if they lie in another."""
        perm = tuple(value.order.index(axis) for axis in order)
        tensor = value.tensor
        if perm == tuple(range(len(perm))):
            return tensor
        key = (tensor.index, perm)
        if key not in self._turned:
            shape = tuple(tensor.shape[place] for place in perm)
            long = [place for place in perm if tensor.shape[place] != 1]
            if tensor.data is not None:
                self._turned[key] = self.graph.constant(tensor.data.transpose(perm), tensor.kind)
            elif long == sorted(long):
                self._turned[key] = self.reshaped(tensor, shape)
            else:
                self._turned[key] = self.graph.add("TRANSPOSE", [tensor, self.whole(perm)], shape)
        return self._turned[key]

    def plain(self, value: Value) -> Tensor:
        """Return the tensor in ONNX's order."""
        return self.in_order(value, tuple(range(value.rank)))

    def reshaped(self, tensor: Tensor, shape: Shape) -> Tensor:
        """Return the same cells under another shape."""
        assert cells(tensor.shape) == cells(shape), f"{tensor.shape} as {shape}"
        if tensor.shape == shape:
            return tensor
        if tensor.data is not None:
            return self.graph.constant(tensor.data.reshape(shape), tensor.kind)
        target = [max(dim, -1) for dim in shape]
        return self.graph.add("RESHAPE", [tensor, self.whole(target)], shape, newShape=target)

    def reshape(self, value: Value, shape: Shape) -> Value:
        """Return an ONNX tensor under another shape; axes stay where they are if that is the same in memory."""
        found = carried(value.order, value.shape, shape)
        if found is None:
            return plain(self.reshaped(self.plain(value), shape))
        return Value(tensor=self.reshaped(value.tensor, tuple(shape[axis] for axis in found)), order=found)

    def moved(self, value: Value, perm: Sequence[int]) -> Value:
        """Return the transposition of an ONNX tensor, which moves nothing yet."""
        places = {axis: new for new, axis in enumerate(perm)}
        return Value(tensor=value.tensor, order=tuple(places[axis] for axis in value.order))

    def apply(self, name: str, *values: Value, kind: str = "", **options: Any) -> Value:
        """Append an operator that works cell by cell, with NumPy's rules of broadcasting.

        Args:
            name: the builtin operator's.
            values: one, two or three.
            kind: the output's; the first value's if empty.
            options: the operator's.
        """
        rank = max(value.rank for value in values)
        full = [value for value in values if value.rank == rank and value.tensor.data is None]
        leader = max(full or [v for v in values if v.rank == rank], key=lambda value: _weight(value.tensor.shape))
        order = leader.order
        tensors = [self._beside(value, order) for value in values]
        shape = _broadcast([tensor.shape for tensor in tensors])
        kind = kind or values[0].tensor.kind
        return Value(tensor=self.graph.add(name, tensors, shape, kind, **options), order=order)

    def _beside(self, value: Value, order: Order) -> Tensor:
        """Return the tensor so that it broadcasts against one whose axes lie in `order`."""
        if cells(value.shape) == 1:
            return self.reshaped(value.tensor, ()) if value.rank else value.tensor
        extra = len(order) - value.rank
        if not extra:
            return self.in_order(value, order)
        if order == tuple(range(len(order))):
            return self.plain(value)
        return self.in_order(self.reshape(value, (1,) * extra + value.shape), order)


def plain(tensor: Tensor) -> Value:
    """Return a value whose axes lie in ONNX's order."""
    return Value(tensor=tensor, order=tuple(range(len(tensor.shape))))


def _weight(shape: Shape) -> tuple[bool, int]:
    number = cells(shape)
    return number < 0, abs(number)


def _broadcast(shapes: Sequence[Shape]) -> Shape:
    rank = max(map(len, shapes))
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    return tuple(next((dim for dim in column if dim != 1), 1) for column in columns)
