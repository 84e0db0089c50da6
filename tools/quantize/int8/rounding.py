"""A float network rewritten with QuantizeLinear and DequantizeLinear: for inference in int8, or to train against it.

Both forms have the same names, so what is trained in one is exported into the other.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.bundle.rounding import HIGHEST, LEAST_SCALE, bias_steps, weight_scales, weight_steps
from quantize.int8.grid import Grid, grid_scales
from quantize.int8.tensors import fixed, rounded_tensors, weight_axis, weighted
from quantize.network import Network

Array = npt.NDArray[Any]
RANGE = "/range"
"""What is put behind a tensor's name for the base-2 logarithm of its scale, where that is trained."""


class Rounded:
    """The rewritten network: nodes in order, constants, and the scales that are trained parameters.

    Args:
        network: the float model.
        grids: of the tensors that have a grid of their own.
        trained: weights that stay float parameters, rounded each time the graph runs; all others become int8 constants.
        follow: let activation scales be trained parameters too.
        headroom: weights lie on a grid of the bundle's own, which goes so many times as far as their largest magnitude,
            and trained ones are inputs of the graph as int8 steps. None: their scales follow them.
        doubled: tensors that are rounded again although they were only moved, so that runtimes can stay in int8; None
            means all of them.
    """

    def __init__(
        self,
        network: Network,
        grids: Mapping[str, Grid],
        *,
        trained: Collection[str],
        follow: bool,
        doubled: Collection[str] | None,
        headroom: float | None = None,
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = dict(network.constants)
        self.ranges: dict[str, Array] = {}
        self.weights: dict[str, tuple[int | None, str]] = {}
        """Weights that are rounded: the axis of their channels, and the tensor whose grid their rows have."""
        self.biases: dict[str, str] = {}
        """Biases that inference holds as int32: the weight they go with."""
        self.steps: dict[str, Array] = {}
        """Trained weights that the graph takes as int8 steps."""
        self._network, self._grids, self._trained, self._follow = network, grids, trained, follow
        self._headroom = headroom
        self._roots = rounded_tensors(network)
        self._read: dict[str, str] = {}
        self._known = fixed(network)
        self.constants.update({name: value for name, value in network.params.items() if name not in trained})
        if network.x in self._roots:
            self._round(network.x)
        for node in network.nodes:
            self._rewrite(node, doubled)

    def _rewrite(self, node: onnx.NodeProto, doubled: Collection[str] | None) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(node.input):
            copy.input[place] = self._read.get(name, name)
        if weighted(self._network, node) and node.input[0] in self._roots:
            copy.input[1] = self._weight(node)
            if len(node.input) > 2 and node.input[2] in self._known:
                copy.input[2] = self._bias(node)
        self.nodes.append(copy)
        name = node.output[0]
        if name in self._roots:
            if self._roots[name] == name or doubled is None or name in doubled:
                self._round(name)
            else:
                self._read[name] = name  # a moved value is on its grid already

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _round(self, name: str) -> None:
        """Append the rounding of one activation; those that read it read its rounded values."""
        root = self._roots[name]
        scale, zero = self._grid(root)
        steps = self._add("QuantizeLinear", [name, scale, zero], f"{name}/q")
        self._read[name] = self._add("DequantizeLinear", [steps, scale, zero], f"{name}/dq")

    def _grid(self, root: str) -> tuple[str, str]:
        """Return the names of a grid's scale and zero point."""
        grid, scale, zero = self._grids[root], f"{root}/scale", f"{root}/zero"
        if zero in self.constants:
            return scale, zero
        self.constants[zero] = np.array(grid.zero_point, np.int8)
        if self._follow:
            self.ranges[root + RANGE] = np.array(np.log2(grid.scale), np.float32)
            self.constants["rounding/two"] = np.array(2.0, np.float32)
            self._add("Pow", ["rounding/two", root + RANGE], scale)
        else:
            self.constants[scale] = np.array(grid.scale, np.float32)
        return scale, zero

    def _weight(self, node: onnx.NodeProto) -> str:
        """Return the name of a node's rounded weight."""
        name = node.input[1]
        if name in self.weights:
            return f"{name}/dq"
        value = self._network.params.get(name, self._network.constants.get(name))
        assert value is not None
        axis = weight_axis(node, value.ndim)
        self.weights[name] = (axis, self._roots[node.input[0]])
        attributes = {} if axis is None else {"axis": axis}
        gridded = self._headroom is not None and name in self._network.params and self._only_weight(name, axis)
        scales = grid_scales(value, axis, self._headroom or 1.0) if gridded else weight_scales(value, axis)
        self.constants[f"{name}/zero"] = np.zeros(scales.shape, np.int8)
        if name in self._trained and gridded:
            self.constants[f"{name}/scale"] = scales
            self.steps[name] = weight_steps(value, scales, axis)
            inputs = [name, f"{name}/scale", f"{name}/zero"]
            return self._add("DequantizeLinear", inputs, f"{name}/dq", **attributes)
        if name in self._trained:
            self._weight_scale(name, axis, value.ndim)
            self._add("QuantizeLinear", [name, f"{name}/scale", f"{name}/zero"], f"{name}/q", **attributes)
        else:
            self.constants.pop(name, None)
            self.constants[f"{name}/scale"] = scales
            self.constants[f"{name}/q"] = weight_steps(value, scales, axis)
        return self._add("DequantizeLinear", [f"{name}/q", f"{name}/scale", f"{name}/zero"], f"{name}/dq", **attributes)

    def _only_weight(self, name: str, axis: int | None) -> bool:
        """Tell whether a tensor is nothing but the weight of nodes with the same channels: a table of ids is not."""
        rank = self._network.params[name].ndim
        return all(
            list(node.input).count(name) == 1
            and node.input[1] == name
            and node.input[0] in self._roots
            and weighted(self._network, node)
            and weight_axis(node, rank) == axis
            for node in self._network.nodes
            if name in node.input
        )

    def _weight_scale(self, name: str, axis: int | None, rank: int) -> None:
        """Append max|w| / 127 per channel: a scale that is never stale, so what is exported is what was trained."""
        others = np.array([place for place in range(rank) if place != axis], np.int64)
        self.constants[f"{name}/others"] = others
        self.constants["rounding/step"] = np.array(1 / HIGHEST, np.float32)
        self.constants["rounding/least"] = np.array(LEAST_SCALE, np.float32)
        self._add("Abs", [name], f"{name}/magnitude")
        self._add("ReduceMax", [f"{name}/magnitude", f"{name}/others"], f"{name}/peak", keepdims=0)
        self._add("Mul", [f"{name}/peak", "rounding/step"], f"{name}/peak/step")
        self._add("Max", [f"{name}/peak/step", "rounding/least"], f"{name}/scale")

    def _bias(self, node: onnx.NodeProto) -> str:
        """Return the name of a node's bias: int32 on the products' grid, where one per channel is not trained here."""
        name, weight = str(node.input[2]), str(node.input[1])
        value = self._network.params.get(name, self._network.constants.get(name))
        assert value is not None
        axis, root = self.weights[weight]
        channels = self._channels(weight, axis)
        if value.dtype != np.float32 or value.shape != (channels,):
            return name
        self.biases[name] = weight
        if name in self._trained or f"{weight}/q" not in self.constants:
            return name
        if f"{name}/q" not in self.constants:
            rows = np.array(self._grids[root].scale, np.float32)
            steps, scales = bias_steps(value, self.constants[f"{weight}/scale"], rows)
            self.constants.pop(name, None)
            self.constants.update({f"{name}/q": steps, f"{name}/scale": scales})
            self.constants[f"{name}/zero"] = np.zeros(channels, np.int32)
            self._add("DequantizeLinear", [f"{name}/q", f"{name}/scale", f"{name}/zero"], f"{name}/dq", axis=0)
        return f"{name}/dq"

    def _channels(self, weight: str, axis: int | None) -> int:
        value = self._network.params.get(weight, self._network.constants.get(weight))
        assert value is not None
        return int(value.shape[axis]) if axis is not None else -1
