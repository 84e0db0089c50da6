"""Whether a flat vector is free of NaN and infinity. Changes and keeps nothing."""

import numpy as np

from accord.bundle.grid import BLOCK
from accord.tensors import Vector


@np.errstate(all="ignore")
def finite(vector: Vector) -> bool:
    """Return whether every number of `vector`, float32 (P,), is finite; needs one block of memory, whatever P is.

    Zero times a finite number is zero, and times any other is NaN, which a sum keeps.
    """
    zeros = np.empty(min(BLOCK, len(vector)), np.float32)
    for at in range(0, len(vector), BLOCK):
        block = vector[at : at + BLOCK]
        part = zeros[: len(block)]
        np.multiply(block, np.float32(0), out=part)
        if np.isnan(np.add.reduce(part)):
            return False
    return True
