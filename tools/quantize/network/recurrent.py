"""LSTM, GRU and RNN written out step by step in plain operators, so that the ordinary rules differentiate them.

Weights keep their names and their ONNX layout. The products with the inputs are one MatMul for all steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from accord.errors import UsageError
from quantize.network.draft import Draft, Sizes

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_KNOWN = frozenset({"Sigmoid", "Tanh", "Relu"})


def unroll(draft: Draft, found: Sizes) -> None:
    """Write out every recurrent node of the draft.

    Raises:
        UsageError: the number of steps is not fixed, or the node has a form that can't be written out.
    """
    nodes: list[onnx.NodeProto] = []
    for node in draft.nodes:
        if node.op_type in GATES:
            nodes += _Unrolled(draft, node, found).nodes()
        else:
            nodes.append(node)
    draft.nodes = nodes


@dataclass(kw_only=True)
class _State:
    """Hidden state and, for LSTM, cell state of one direction, each (N, H); "" is zero."""

    hidden: str
    cell: str = ""


class _Unrolled:
    """One recurrent node while it is written out."""

    def __init__(self, draft: Draft, node: onnx.NodeProto, found: Sizes) -> None:
        self._draft, self._node, self._written = draft, node, list[onnx.NodeProto]()
        self._settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        self._inputs = [*node.input, *[""] * 8][:8]
        shape, weights = found.shapes.get(node.input[0]), found.shapes.get(node.input[2])
        if shape is None or weights is None:
            raise UsageError(f"{self._where} has inputs of unknown shape: export the model with static shapes")
        self._last = bool(self._settings.get("layout", 0))
        self._steps = shape[1 if self._last else 0]
        self._directions, _, self._width = weights
        self._refuse_odd()

    @property
    def _prefix(self) -> str:
        return str(next(name for name in self._node.output if name))

    @property
    def _where(self) -> str:
        return f"{self._node.op_type} {self._node.name!r}"

    def _refuse_odd(self) -> None:
        names = [bytes(name).decode() for name in self._settings.get("activations", ())]
        expected = len(_DEFAULTS[self._node.op_type]) * self._directions
        if names and (len(names) != expected or not _KNOWN.issuperset(names)):
            raise UsageError(f"{self._where} has activations {', '.join(names)}: use Sigmoid, Tanh or Relu")
        odd = {
            "clips its gates (clip)": "clip" in self._settings,
            "couples its gates (input_forget)": bool(self._settings.get("input_forget", 0)),
            "has sequence_lens that are not all its steps": not self._every_step(self._inputs[4]),
            "has peepholes (P)": self._node.op_type == "LSTM" and bool(self._inputs[7]),
        }
        for what, is_there in odd.items():
            if is_there:
                raise UsageError(f"{self._where} {what}, which can't be trained")

    def _every_step(self, name: str) -> bool:
        return not name or self._draft.filled.get(name) == self._steps

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._add_many(operator, inputs, 1, **attributes)[0]

    def _add_many(self, operator: str, inputs: tuple[str, ...], count: int, **attributes: Any) -> list[str]:
        number = f"{operator.lower()}{len(self._written)}"
        names = [f"{self._prefix}/{number}.{place}" for place in range(count)]
        self._written.append(onnx.helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names

    def _whole(self, *values: int) -> str:
        name = f"recurrent/{'_'.join(map(str, values))}"
        self._draft.constants[name] = np.array(values, np.int64)
        return name

    def _parts(self, name: str, sizes: list[int], axis: int) -> list[str]:
        if len(sizes) == 1:
            return [name]
        return self._add_many("Split", (name, self._whole(*sizes)), len(sizes), axis=axis)

    def _per_direction(self, name: str) -> list[str]:
        """Return a tensor's part for each direction, without the first axis; "" for none."""
        if not name:
            return [""] * self._directions
        parts = self._parts(name, [1] * self._directions, 0)
        return [self._add("Squeeze", part, self._whole(0)) for part in parts]

    def _states(self, name: str) -> list[str]:
        """Return the initial state of each direction; zeros are left out, and a traced batch of them with it."""
        if self._draft.filled.get(name) == 0.0:
            name = ""
        if name and self._last:
            name = self._add("Transpose", name, perm=[1, 0, 2])
        return self._per_direction(name)

    def nodes(self) -> list[onnx.NodeProto]:
        """Return the nodes that compute the same outputs."""
        x, w, r, b = self._inputs[:4]
        if self._last:
            x = self._add("Transpose", x, perm=[1, 0, 2])
        cells = self._states(self._inputs[6]) if self._node.op_type == "LSTM" else [""] * self._directions
        columns = zip(*map(self._per_direction, (w, r, b)), self._states(self._inputs[5]), cells, strict=True)
        backwards = bytes(self._settings.get("direction", b"forward")) == b"reverse"
        sequences, ends = [], []
        for direction, (weights, recurrence, bias, hidden, cell) in enumerate(columns):
            names = [bytes(name).decode() for name in self._settings.get("activations", ())]
            own = len(_DEFAULTS[self._node.op_type])
            functions = tuple(names[direction * own : (direction + 1) * own]) or _DEFAULTS[self._node.op_type]
            state = _State(hidden=hidden, cell=cell)
            order = list(range(self._steps))
            if backwards or direction:
                order.reverse()
            step = self._step(x, weights, recurrence, bias, functions)
            outputs = [""] * self._steps
            for time in order:
                state = step(time, state)
                outputs[time] = self._add("Unsqueeze", state.hidden, self._whole(0))
            sequences.append(self._add("Concat", *outputs, axis=0))
            ends.append(state)
        self._give(sequences, ends)
        return self._written

    def _give(self, sequences: list[str], ends: list[_State]) -> None:
        """Write the node's outputs Y (T, D, N, H), Y_h and Y_c (D, N, H) under their names."""
        stacked = [self._add("Unsqueeze", name, self._whole(1)) for name in sequences]
        hidden = [self._add("Unsqueeze", state.hidden, self._whole(0)) for state in ends]
        found = [(stacked, 1, [2, 0, 1, 3]), (hidden, 0, [1, 0, 2])]
        if self._node.op_type == "LSTM":
            found.append(([self._add("Unsqueeze", state.cell, self._whole(0)) for state in ends], 0, [1, 0, 2]))
        for name, (parts, axis, last) in zip(self._node.output, found, strict=False):
            whole = self._add("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
            if name and self._last:
                self._written.append(onnx.helper.make_node("Transpose", [whole], [name], name=name, perm=last))
            elif name:
                self._written.append(onnx.helper.make_node("Identity", [whole], [name], name=name))

    def _step(
        self, x: str, weights: str, recurrence: str, bias: str, functions: tuple[str, ...]
    ) -> Callable[[int, _State], _State]:
        """Return the function that writes one step: (time, state before) -> state after."""
        kind, size = self._node.op_type, self._width
        wide = GATES[kind] * size
        product = self._add("MatMul", x, self._add("Transpose", weights, perm=[1, 0]))
        own, other = self._parts(bias, [wide, wide], 0) if bias else ("", "")
        # A GRU that resets after the product adds the recurrent bias inside of the reset.
        late = kind == "GRU" and bool(self._settings.get("linear_before_reset", 0))
        if bias:
            product = self._add("Add", product, own if late else self._add("Add", own, other))
        times = [self._add("Squeeze", part, self._whole(0)) for part in self._parts(product, [1] * self._steps, 0)]
        if kind == "LSTM":
            return lambda time, state: self._lstm(times[time], state, recurrence, functions)
        if kind == "RNN":
            return lambda time, state: _State(
                hidden=self._add(functions[0], self._recurred(times[time], state.hidden, recurrence))
            )
        if late:
            return lambda time, state: self._late_gru(times[time], state, recurrence, other, functions)
        halves = self._parts(recurrence, [2 * size, size], 0)
        return lambda time, state: self._gru(times[time], state, halves, functions)

    def _recurred(self, inputs: str, hidden: str, recurrence: str) -> str:
        """Return inputs + hidden·Rᵀ."""
        return self._add("Gemm", hidden, recurrence, inputs, transB=1) if hidden else inputs

    def _lstm(self, inputs: str, state: _State, recurrence: str, functions: tuple[str, ...]) -> _State:
        """Write i, o, f = f(..), c = f·C + i·g(..), h = o·h(c), with the gates in ONNX's order i, o, f, c."""
        size = self._width
        gates = self._recurred(inputs, state.hidden, recurrence)
        some, candidate = self._parts(gates, [3 * size, size], 1)
        enter, leave, forget = self._parts(self._add(functions[0], some), [size] * 3, 1)
        cell = self._add("Mul", enter, self._add(functions[1], candidate))
        if state.cell:
            cell = self._add("Add", self._add("Mul", forget, state.cell), cell)
        return _State(hidden=self._add("Mul", leave, self._add(functions[2], cell)), cell=cell)

    def _gru(self, inputs: str, state: _State, halves: list[str], functions: tuple[str, ...]) -> _State:
        """Write z, r = f(..), h = g(x + (r·H)·Rᵀ), H = (1 - z)·h + z·H."""
        size, hidden = self._width, state.hidden
        some, candidate = self._parts(inputs, [2 * size, size], 1)
        gates = self._add(functions[0], self._recurred(some, hidden, halves[0]))
        update, reset = self._parts(gates, [size, size], 1)
        kept = self._add("Mul", reset, hidden) if hidden else ""
        return self._mixed(update, self._add(functions[1], self._recurred(candidate, kept, halves[1])), hidden)

    def _late_gru(self, inputs: str, state: _State, recurrence: str, bias: str, functions: tuple[str, ...]) -> _State:
        """Write z, r = f(..), h = g(x + r·(H·Rᵀ + b)), H = (1 - z)·h + z·H."""
        size, hidden = self._width, state.hidden
        some, candidate = self._parts(inputs, [2 * size, size], 1)
        added = bias
        if hidden:
            added = self._add("Gemm", hidden, recurrence, *([bias] if bias else []), transB=1)
        parts = self._parts(added, [2 * size, size], 1 if hidden else 0) if added else ["", ""]
        gates = self._add(functions[0], self._add("Add", some, parts[0]) if parts[0] else some)
        update, reset = self._parts(gates, [size, size], 1)
        if parts[1]:
            candidate = self._add("Add", candidate, self._add("Mul", reset, parts[1]))
        return self._mixed(update, self._add(functions[1], candidate), hidden)

    def _mixed(self, update: str, fresh: str, hidden: str) -> _State:
        """Write (1 - z)·h + z·H as h + z·(H - h)."""
        if not hidden:
            return _State(hidden=self._add("Sub", fresh, self._add("Mul", update, fresh)))
        return _State(hidden=self._add("Add", fresh, self._add("Mul", update, self._add("Sub", hidden, fresh))))
