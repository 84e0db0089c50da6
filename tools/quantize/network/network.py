"""The value that is differentiated: a model's nodes in order, its trainable tensors, every shape and element type."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from accord.entropy import Entropy
from accord.runtimes.initial import uniform
from quantize.network.draft import Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model of one input and one output.

    `nodes` are in topological order and all needed for `output`; `params` are the float32 tensors to train, in order of
    first use; `constants` are all others; `shapes` hold None where a dimension grows with the batch; `notes` are
    sentences about what was changed. `x_type` is the element type of the input, int8 where a frozen part stands before,
    and `kinds` are those of tensors where they are known, as onnx.TensorProto numbers them. `ids` is how many rows the
    smallest table has that x indexes, 0 where x holds numbers.
    """

    nodes: tuple[onnx.NodeProto, ...]
    params: Mapping[str, Array]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    x: str
    output: str
    notes: tuple[str, ...]
    x_type: int = onnx.TensorProto.FLOAT
    kinds: Mapping[str, int] = field(default_factory=dict)
    ids: int = 0

    @property
    def outputs(self) -> int:
        """Number of values per row."""
        last = self.shapes[self.output][-1]
        assert last is not None
        return last

    def draw(self, rows: int, entropy: Entropy) -> npt.NDArray[np.float32]:
        """Return rows that the model can take, float32 (rows, *input shape): numbers within ±2, or ids."""
        shape = tuple(int(dim or 1) for dim in self.shapes[self.x][1:])
        drawn = uniform((rows, *shape), 2.0, entropy)
        if not self.ids:
            return drawn
        ids = np.floor((drawn + np.float32(2.0)) * np.float32(self.ids / 4.0))
        bounded: npt.NDArray[np.float32] = np.minimum(ids, np.float32(self.ids - 1))
        return bounded
