"""A model while it is drawn: each node is written with the value that it has in float64 for a few rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import reject
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from quantize.kernels import KERNELS
from quantize.network import OPSET
from tests.quantize.graphs import Array, computed

Draw = Callable[[st.SearchStrategy[Any]], Any]

ROWS = 3
RECURRENT = ("LSTM", "GRU", "RNN")
LARGEST = 6.0
"""A value beyond it is squashed, so that functions of functions stay in float32's comfortable range."""
CELLS = 96
"""A row with more cells is brought down by a small layer."""


class Graph:
    """Nodes, constants and what each tensor holds for `ROWS` rows.

    `floats` are the float tensors that have one row for each row of x.
    """

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.size = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
        self.x = self.numbers.uniform(-1, 1, (ROWS, *self.size)).astype(np.float32)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, Array] = {}
        self.values: dict[str, Array] = {"x": self.x.astype(np.float64)}
        self.floats = [self.add("Mul", "x", self.weight(*self.size, low=0.5, high=1.5))]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.values[name].shape

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def whole(self, low: int, high: int) -> int:
        found: int = self.draw(st.integers(low, high))
        return found

    def axis(self, name: str) -> int:
        """An axis that is not that of the rows, sometimes counted from the end."""
        rank = self.values[name].ndim
        found = self.whole(1, rank - 1)
        return self.one_of(found, found - rank)  # type: ignore[no-any-return]

    def tensor(self, value: Any, dtype: Any) -> str:
        """Enter a constant; it is trained if it is float32 and stands where weights stand."""
        name = f"t{len(self.tensors)}"
        self.tensors[name] = np.asarray(value, dtype)
        wide = self.tensors[name].dtype == np.float32
        self.values[name] = self.tensors[name].astype(np.float64) if wide else self.tensors[name]
        return name

    def weight(self, *shape: int, low: float = -1.0, high: float = 1.0) -> str:
        return self.tensor(self.numbers.uniform(low, high, shape), np.float32)

    def number(self, value: float) -> str:
        return self.tensor(value, np.float32)

    def setting(self, *values: int) -> str:
        return self.tensor(values, np.int64)

    def scales(self, *values: float) -> str:
        """Constants that have to stay float32."""
        name = self.tensor(values, np.float32)
        self.values[name] = self.tensors[name]
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(self, operator: str, inputs: tuple[str, ...], count: int, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{place}" for place in range(count)]
        node = helper.make_node(operator, list(inputs), names, name=f"{operator}{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        self.values.update(zip(names, self._evaluated(node), strict=True))
        return names

    def _evaluated(self, node: onnx.NodeProto) -> list[Array]:
        if node.op_type == "Cast":  # to float32, which is float64 here
            return [self.values[node.input[0]].astype(np.float64)]
        given = {name: self.values[name] for name in node.input if name}
        if node.op_type in RECURRENT:  # the evaluator knows one direction and one form
            given = {name: value.astype(np.float32) for name, value in given.items()}
            return [computed(self._alone(node, given), given).astype(np.float64)]
        graph = self._alone(node, given).graph
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(graph, opsets={"": OPSET}, new_ops=list(KERNELS)).run(None, given)
        values = [np.asarray(value) for value in found]
        if not all(value.size and np.isfinite(value).all() for value in values):
            reject()
        return values

    def _alone(self, node: onnx.NodeProto, given: dict[str, Array]) -> onnx.ModelProto:
        info, kind = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype
        floats = TensorProto.FLOAT if node.op_type in RECURRENT else TensorProto.DOUBLE
        graph = helper.make_graph(
            [node],
            "alone",
            [info(name, kind(value.dtype), value.shape) for name, value in given.items()],
            [info(name, floats, None) for name in node.output],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def tamed(self, name: str) -> str:
        """Return `name`, or a smaller version of it."""
        if np.abs(self.values[name]).max() > LARGEST:
            name = self.add("Tanh", name)
        rows, *rest = self.shape(name)
        if int(np.prod(rest)) > CELLS:
            flat = self.add("Flatten", name)
            name = self.add("MatMul", flat, self.weight(self.shape(flat)[1], 6, low=-0.2, high=0.2))
        assert rows == ROWS
        return name

    def positive(self, name: str) -> str:
        """Return a tensor of the same shape whose cells lie above 0.3."""
        if self.one_of("Abs", "Exp") == "Abs":
            return self.add("Add", self.add("Abs", name), self.number(0.3))
        return self.add("Add", self.add("Exp", self.add("Tanh", name)), self.number(0.1))
