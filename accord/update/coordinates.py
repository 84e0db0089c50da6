"""The numbers that stand for a change of the model on its way: a linear map that all devices of a cohort share.

Because it is linear and the same for all, the sum of the numbers stands for the sum of the changes.
"""

from typing import Protocol

from accord.tensors import Layout, Vector


class Coordinates(Protocol):
    """A map of P parameters to K coordinates and back, tensor after tensor."""

    @property
    def spans(self) -> tuple[int, ...]:
        """How many coordinates each tensor of the layout has."""
        ...

    def take(self, change: Vector) -> Vector:
        """Return the coordinates, float32 of shape (K,), of a change of shape (P,)."""
        ...

    def put(self, values: Vector) -> Vector:
        """Return the change, float32 of shape (P,), that coordinates of shape (K,) stand for."""
        ...

    def scores(self, change: Vector) -> Vector:
        """Return what there is to choose the next support by, float32: a norm for each block, or nothing."""
        ...


class Whole:
    """Every parameter is a coordinate.

    Args:
        layout: the model's trainable tensors.
    """

    def __init__(self, layout: Layout) -> None:
        self.spans = layout.sizes

    def take(self, change: Vector) -> Vector:
        """Return it."""
        return change

    def put(self, values: Vector) -> Vector:
        """Return them."""
        return values

    def scores(self, change: Vector) -> Vector:
        """Return nothing: there is no choice."""
        return change[:0]
