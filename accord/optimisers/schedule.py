"""How the learning rate changes over the rounds of a job. Whoever makes the plan follows it; devices get a rate."""

import math

from accord.errors import UsageError
from accord.values import dataclass

SCHEDULES = ("constant", "cosine", "step")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning rate for each training round k of n, k from 0.

    constant: the job's own. cosine: (1 + cos(pi·k/n))/2 of it (Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient
    Descent with Warm Restarts", equation 5, with no restart, towards 0). step: decay_factor^⌊k/decay_every⌋ of it (He
    et al. 2016, "Deep Residual Learning for Image Recognition", section 3.4, at even distances).

    Args:
        kind: one of `SCHEDULES`.
        decay_every: rounds between two steps, 1 or more.
        decay_factor: what each step leaves, above 0 and at most 1.

    Raises:
        UsageError: one of them is out of its range.
    """

    kind: str = "constant"
    decay_every: int = 10
    decay_factor: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise UsageError(f"schedule {self.kind} is unknown: use one of {', '.join(SCHEDULES)}")
        if self.decay_every < 1 or not 0.0 < self.decay_factor <= 1.0:
            raise UsageError(
                f"a learning rate that is multiplied by {self.decay_factor} each {self.decay_every} rounds is out of "
                "range: use a decay factor above 0 and at most 1, and 1 round or more"
            )

    def rate(self, learning_rate: int, number: int, rounds: int) -> int:
        """Return the rate of one round, in millionths as `learning_rate`; not below 1 unless that is 0.

        Args:
            learning_rate: the job's.
            number: training rounds before this one.
            rounds: all training rounds of the job.
        """
        match self.kind:
            case "cosine":
                share = (1.0 + math.cos(math.pi * min(1.0, number / rounds))) / 2.0
            case "step":
                share = self.decay_factor ** (number // self.decay_every)
            case _:
                share = 1.0
        return min(learning_rate, max(1, round(learning_rate * share)))


STEADY = Schedule()
"""The same learning rate in every round."""
