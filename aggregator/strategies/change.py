"""What a strategy makes of the cohorts' mean changes, and what every strategy offers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from accord.tensors import Vector


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change of a round, float32 of shape (P,), and the places of the cohorts whose means were shortened for it."""

    vector: Vector = field(repr=False)
    shortened: tuple[int, ...] = ()


class Strategy(Protocol):
    """How cohort means become one change."""

    @property
    def fewest_cohorts(self) -> int:
        """Below so many cohorts nothing can be merged, and the model stays."""
        ...

    def change(self, means: Sequence[Vector], weights: Sequence[int]) -> Change:
        """Return the change of the model.

        Args:
            means: one mean change per cohort, at least `fewest_cohorts`.
            weights: the summed weight of each cohort.
        """
        ...

    def typical(self, figures: Sequence[float]) -> float:
        """Return what one figure of each cohort says of the round, believing as few cohorts as `change` does."""
        ...
