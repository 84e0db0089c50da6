"""A version of the model as one object: trainable parameters, then the scaling of its inputs and targets.

Little-endian float32: P parameters, C means, C reciprocal deviations, and the target's mean and deviation. Inputs are
scaled per column: per feature of N x F rows, per channel of N x C x H x W ones. See docs/protocol.md, section 8.7.
"""

from dataclasses import field

import numpy as np
import numpy.typing as npt

from accord.errors import CodecError
from accord.tensors import Layout, Vector
from accord.values import dataclass

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Means and reciprocal deviations per column, float32 of shape (C,), and the target's mean and deviation."""

    mean: Floats
    factor: Floats
    target_mean: float = 0.0
    target_scale: float = 1.0

    def inputs(self, x: npt.NDArray[np.generic]) -> Floats:
        """Return rows (N, F) or (N, C, H, W) scaled to about zero mean and unit variance, as new float32."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return (x.astype(np.float32) - self.mean.reshape(shape)) * self.factor.reshape(shape)

    def targets(self, y: npt.NDArray[np.generic]) -> Floats:
        """Return regression targets (N,) in the model's units."""
        return ((y.astype(np.float64) - self.target_mean) / self.target_scale).astype(np.float32)

    def originals(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Return predictions (N,) in original units."""
        return values.astype(np.float64) * self.target_scale + self.target_mean


def unscaled(columns: int) -> Scaling:
    """Return the scaling that changes nothing."""
    return Scaling(mean=np.zeros(columns, np.float32), factor=np.ones(columns, np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Parameters, float32 of shape (P,), and their scaling."""

    params: Vector = field(repr=False)
    scaling: Scaling = field(repr=False)

    def encode(self) -> bytes:
        """Return the object's bytes, 4 * (P + 2 * C + 2) of them."""
        target = np.array([self.scaling.target_mean, self.scaling.target_scale])
        parts = (self.params, self.scaling.mean, self.scaling.factor, target)
        return np.concatenate([part.astype("<f4") for part in parts]).tobytes()


def first(params: Vector, columns: int) -> bytes:
    """Return the object of version 0: a bundle's parameters, and a scaling that changes nothing."""
    return Snapshot(params=params, scaling=unscaled(columns)).encode()


def columns_of(input_shape: tuple[int, ...]) -> int:
    """Return the columns of rows of this shape: features, or channels."""
    return input_shape[0]


def decode(data: bytes, layout: Layout, columns: int) -> Snapshot:
    """Return the snapshot in `data`: its arrays are read-only views of these bytes.

    Raises:
        CodecError: another size, or a value that is not finite.
    """
    size = layout.size + 2 * columns + 2
    if len(data) != 4 * size:
        raise CodecError(f"a snapshot of {size} values takes {4 * size} bytes, not {len(data)}")
    values = np.frombuffer(data, "<f4").astype(np.float32, copy=False)  # a device has no room for a second copy
    if not np.isfinite(values).all():
        raise CodecError("a snapshot holds NaN or infinity")
    params, mean, factor, target = np.split(values, np.cumsum([layout.size, columns, columns]))
    scaling = Scaling(mean=mean, factor=factor, target_mean=float(target[0]), target_scale=float(target[1]))
    if scaling.target_scale <= 0:
        raise CodecError("a target scale that is not positive")
    return Snapshot(params=params, scaling=scaling)
