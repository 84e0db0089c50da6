"""Transforms of regression targets and their inverses; models learn the transformed values."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError

Reals = npt.NDArray[np.float64]
_LARGEST_EXPONENT = 700.0
"""exp of more overflows float64."""

_THERE: Mapping[str, Callable[[Reals], Reals]] = {"none": lambda y: y, "log": np.log, "log1p": np.log1p}
_BACK: Mapping[str, Callable[[Reals], Reals]] = {
    "none": lambda y: y,
    "log": lambda y: np.exp(np.minimum(y, _LARGEST_EXPONENT)),
    "log1p": lambda y: np.expm1(np.minimum(y, _LARGEST_EXPONENT)),
}
_ABOVE = {"none": -np.inf, "log": 0.0, "log1p": -1.0}


def transformed(name: str, y: npt.NDArray[np.generic]) -> Reals:
    """Return targets (N,) as the model learns them.

    Raises:
        UsageError: a target is outside the transform's range.
    """
    values = y.astype(np.float64)
    if values.size and not values.min() > _ABOVE[name]:
        raise UsageError(
            f"target transform {name} needs targets above {_ABOVE[name]:g}, and there is {values.min():g}: "
            "use another transform, or none"
        )
    return _THERE[name](values)


def original(name: str, values: Reals) -> Reals:
    """Return predictions (N,) in the targets' own units."""
    return _BACK[name](values)
