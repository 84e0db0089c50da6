"""The graph while it is written: nodes in order, constants kept once, fresh names. Knows no operator's rule."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from accord.errors import UsageError
from quantize.network import Network, Shape


class Tape:
    """A copy of a network's nodes, to which the loss and the backward pass are appended.

    Args:
        network: the forward model.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        for node in network.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            self.nodes.append(copy)
        self.constants: dict[str, npt.NDArray[Any]] = dict(network.constants)
        self._shapes = dict(network.shapes)
        self._kinds = dict(network.kinds)
        self._known: dict[tuple[Any, ...], str] = {}
        self._taken = set(network.shapes) | {name for node in network.nodes for name in (*node.input, *node.output)}
        self._varying = _varying(network)
        self._producers = {name: node.op_type for node in network.nodes for name in node.output}
        self._readers = Counter([network.output, *(name for node in network.nodes for name in node.input)])
        self.cut_off: set[str] = set()
        """Forward tensors whose slope is 0 already wherever they are not above 0."""

    def fresh(self, hint: str) -> str:
        """Return a name that nothing bears yet."""
        name, count = hint, 1
        while name in self._taken:
            count += 1
            name = f"{hint}_{count}"
        self._taken.add(name)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(self, operator: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Append a node with `count` outputs and return their names."""
        names = [self.fresh(f"train/{operator}") for _ in range(count)]
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Return the name of a constant; equal constants have one name."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self.fresh("train/constant")
            self.constants[self._known[key]] = array
        return self._known[key]

    def number(self, value: float) -> str:
        """Return the name of a float32 scalar."""
        return self.constant(value, np.float32)

    def whole(self, *values: int) -> str:
        """Return the name of an int64 vector, such as axes or a shape."""
        return self.constant(values, np.int64)

    def shape(self, name: str) -> Shape:
        """Return a forward tensor's shape, None where the batch stands.

        Raises:
            UsageError: shape inference could not tell.
        """
        if name not in self._shapes:
            raise UsageError(f"the shape of {name!r} can't be inferred: export the model with static shapes")
        return self._shapes[name]

    def fixed_shape(self, name: str, start: int = 0) -> tuple[int, ...]:
        """Return the dimensions from `start` on, all of them known.

        Raises:
            UsageError: one is not known before the model runs.
        """
        dims = self.shape(name)[start:]
        if None in dims:
            raise UsageError(f"{name!r} has shape {self.shape(name)}: only the first dimension may be open")
        return tuple(int(dim) for dim in dims if dim is not None)

    def producer(self, name: str) -> str:
        """Return the operator that computes a forward tensor, "" for an input or a constant."""
        return self._producers.get(name, "")

    def readers(self, name: str) -> int:
        """Return how often a forward tensor is read, by nodes and as the network's output."""
        return self._readers[name]

    def kind(self, name: str) -> int:
        """Return a forward tensor's element type, as onnx.TensorProto numbers it; 0 where it is not known."""
        return self._kinds.get(name, 0)

    def fixed(self, name: str, node: onnx.NodeProto) -> npt.NDArray[Any]:
        """Return the value of a constant that decides what `node` does, such as its axes.

        Raises:
            UsageError: it is computed when the model runs.
        """
        if name not in self.constants:
            raise UsageError(
                f"{node.op_type} {node.name!r}: its input {name!r} is computed when the model runs: "
                "export the model with static shapes"
            )
        return self.constants[name]

    def zeros_like(self, name: str) -> str:
        """Return the name of float32 zeros in the shape of `name`."""
        zero = numpy_helper.from_array(np.zeros(1, np.float32))
        return self.add("ConstantOfShape", self.add("Shape", name), value=zero)

    def wanted(self, name: str) -> bool:
        """Tell whether `name` depends on a trainable tensor, so that its gradient is needed."""
        return name in self._varying

    def as_summed(self, slope: str, slope_shape: Shape, target: Shape) -> str:
        """Sum `slope` over the axes along which a tensor of shape `target` was broadcast."""
        extra = len(slope_shape) - len(target)
        if extra:
            slope = self.add("ReduceSum", slope, self.whole(*range(extra)), keepdims=0)
        ones = [a for a, dim in enumerate(target) if dim == 1 and slope_shape[a + extra] != 1]
        return self.add("ReduceSum", slope, self.whole(*ones), keepdims=1) if ones else slope


_STEPWISE = frozenset(
    """
    And ArgMax ArgMin Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not Or Shape Size Xor
    """.split()  # noqa: SIM905 - quoted words are harder to read
)
"""Operators that give places, truths or lengths: nothing of their outputs moves with a small step of a weight."""
_REAL = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def _varying(network: Network) -> set[str]:
    varying = set(network.params)
    for node in network.nodes:
        to = TensorProto.FLOAT if node.op_type != "Cast" else attribute(node, "to", TensorProto.FLOAT)
        if varying & set(node.input) and node.op_type not in _STEPWISE and to in _REAL:
            varying.update(node.output)
    return varying


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute's value: int, float, bytes or list; `default` where it is absent."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


def initialisers(constants: dict[str, npt.NDArray[Any]], used: set[str]) -> list[onnx.TensorProto]:
    """Return the constants that are used as tensors, by name."""
    return [numpy_helper.from_array(constants[name], name) for name in sorted(used & set(constants))]
