"""A device's rows as the trained part of the model takes them. Trains nothing."""

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from accord.runtimes import Runtime
from accord.values import dataclass
from edge_sdk.rows import Array, Rows

SLICE = 64
"""Rows that pass through the frozen part between two questions whether work may go on."""
MOST = 4
"""Prepared rows are kept if they are at most so many times as large as the rows themselves."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Half:
    """Rows for training, or for evaluation: prepared once, or each time if they would take too much memory."""

    x: Array
    runtime: Runtime | None

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, which: slice | npt.NDArray[np.intp]) -> Array:
        """Return some rows as `gradients` and `predict` take them."""
        part = self.x[which]
        return part if self.runtime is None else self.runtime.prepared(part)


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What was made of `source` with the scaling named by `key`."""

    source: Rows
    key: bytes
    train: Half
    y: Array
    test: Half


def prepared_rows(runtime: Runtime, x: npt.NDArray[np.float32]) -> Generator[None, None, Half]:
    """Run scaled rows through the frozen part, with a pause after each `SLICE` of them."""
    first = runtime.prepared(x[:SLICE])
    if first is x or (first.dtype == x.dtype and np.shares_memory(first, x)):
        return Half(x=x, runtime=None)
    if first.nbytes > MOST * x[:SLICE].nbytes:
        return Half(x=x, runtime=runtime)
    found = np.empty((len(x), *first.shape[1:]), first.dtype)
    found[:SLICE] = first
    for at in range(SLICE, len(x), SLICE):
        yield
        found[at : at + SLICE] = runtime.prepared(x[at : at + SLICE])
    return Half(x=found, runtime=None)
