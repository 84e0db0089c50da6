"""Named float32 tensors as one flat vector: the layout says where each one lies. Holds no values."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from accord.values import dataclass

Vector = npt.NDArray[np.float32]
MAX_PARAMETERS = 1 << 28
"""Parameters in one layout: 1 GiB of float32."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """The place of one tensor in the flat vector."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of elements (1 for a scalar)."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The names and shapes of a model's trainable tensors, in order.

    Args:
        tensors: (name, shape) pairs; names are unique and not empty.

    Raises:
        UsageError: no tensors, a repeated name, an empty dimension, or more than `MAX_PARAMETERS` elements.
    """

    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.tensors]
        if not names or len(set(names)) != len(names) or not all(names):
            raise UsageError("a layout needs at least one tensor, each with a name of its own")
        if any(dim < 1 for _, shape in self.tensors for dim in shape):
            raise UsageError("a tensor with an empty dimension can't be trained")
        if self.size > MAX_PARAMETERS:
            raise UsageError(f"{self.size} parameters are more than the {MAX_PARAMETERS} that one model may have")

    @cached_property
    def size(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for _, shape in self.tensors)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of parameters of each tensor."""
        return tuple(math.prod(shape) for _, shape in self.tensors)

    @cached_property
    def places(self) -> tuple[Tensor, ...]:
        """Each tensor with its offset in the flat vector, in elements."""
        places, offset = [], 0
        for name, shape in self.tensors:
            place = Tensor(name=name, shape=shape, offset=offset)
            places.append(place)
            offset += place.size
        return tuple(places)

    def views(self, vector: Vector) -> dict[str, Vector]:
        """Return each tensor as a view into `vector`, float32 of shape (size,).

        Raises:
            UsageError: the vector has another length.
        """
        if vector.shape != (self.size,):
            raise UsageError(f"a vector of {self.size} parameters is expected, not one of shape {vector.shape}")
        return {p.name: vector[p.offset : p.offset + p.size].reshape(p.shape) for p in self.places}

    def flatten(self, values: Mapping[str, npt.ArrayLike]) -> Vector:
        """Return a new float32 vector of shape (size,) with the tensors of `values` in their places.

        Raises:
            UsageError: a tensor is missing, is one too many, or has another shape.
        """
        if set(values) != {name for name, _ in self.tensors}:
            raise UsageError(f"tensors {sorted(values)} are not those of the layout")
        vector = np.empty(self.size, np.float32)
        for place in self.places:
            value = np.asarray(values[place.name], np.float32)
            if value.shape != place.shape:
                raise UsageError(f"tensor {place.name!r} has shape {value.shape}, not {place.shape}")
            vector[place.offset : place.offset + place.size] = value.ravel()
        return vector


def layout_of(values: Mapping[str, npt.ArrayLike] | Sequence[tuple[str, npt.ArrayLike]]) -> Layout:
    """Return the layout of named arrays, in their order."""
    pairs = values.items() if isinstance(values, Mapping) else values
    return Layout(tuple((name, tuple(int(d) for d in np.shape(value))) for name, value in pairs))
