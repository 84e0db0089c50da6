"""A device's own rows in memory: what is trained on and what the model is judged by. They never leave."""

from dataclasses import field

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from accord.values import dataclass

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """A device's own rows: x of shape (N, ...), y of shape (N,), class indices or numbers; parts may be empty."""

    x_train: Array = field(repr=False)
    y_train: Array = field(repr=False)
    x_test: Array = field(repr=False)
    y_test: Array = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.x_train) != len(self.y_train) or len(self.x_test) != len(self.y_test):
            raise UsageError("x and y have different numbers of rows")
        if not (np.isfinite(self.x_train).all() and np.isfinite(self.x_test).all()):
            raise UsageError("rows hold NaN or infinity: leave them out or fill them in")
