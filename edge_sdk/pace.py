"""How a device's work goes on or stops: whether it may take its next step, and what each step tells."""

from collections.abc import Callable

from accord.errors import AccordError
from accord.values import dataclass

Pace = Callable[[], bool]
"""Asked before each step: whether work may go on now."""


class Paused(AccordError):  # noqa: N818 - the state of some work, which is no error
    """Work stopped between two steps because it may not go on now; asking for the same work goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of training is done: a batch, of `steps` in all passes of this round."""

    round: int
    attempt: int
    epoch: int  # from 1
    epochs: int
    step: int  # from 1
    steps: int
    loss: float  # of this batch, before the step
    metric: float  # the same: fraction right, or mean absolute error in the model's units
