"""What masked statistics say of the fleet's rows: scales of inputs, and from how many rows a device weighs no more.

Nobody can look at one device's figures, so the unit is the cohort, as for the merge of changes. A merge that believes
everybody takes the sums of all; a robust one takes what each cohort says for itself, and of that the median. Before, a
cohort whose sums no honest rows can have is left out whatever the merge. See docs/protocol.md, section 8.4.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accord.update.pipeline import BOUNDS, POWERS, ROW_POWERS

COVERED = 0.999
"""Share of the non-zero values of a column that its power of two bounds: no device's extreme decides it."""
SLACK = 1e-6
"""Share of a count by which rounded sums may pass their bounds."""

Figures = Mapping[str, Sequence[float]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and variance of each column in units of 2^e and 4^e, float64 of shape (columns,)."""

    mean: Floats = field(repr=False)
    variance: Floats = field(repr=False)


def plausible(figures: Figures, purpose: str, devices: int | None = None) -> bool:
    """Return whether rows can have these sums, whosever they are.

    `powers`: each device tells the size of its rows once, and each value of a column falls into one bin, so every
    column holds `count`. `moments`: |x| <= 1, so the sum of squares is at most that of magnitudes, and
    this at most the count; and by Cauchy and Schwarz (sum x)^2 <= count * (sum of x^2).

    Args:
        figures: of one cohort.
        purpose: `powers` or `moments`.
        devices: in the cohort's sum, if known.
    """
    count = figures["count"][0]
    if purpose == "powers":
        held = np.array(figures["powers"]).reshape(-1, POWERS).sum(axis=1)
        return (devices is None or sum(figures["rows"]) == devices) and bool((held == count).all())
    room = SLACK * (count + 1)
    positive, negative, squared = (np.array(figures[name]) for name in ("positive", "negative", "squared"))
    magnitude, total = positive + negative, positive - negative
    inside = (squared <= magnitude + room) & (magnitude <= count + room)
    return bool((inside & (total**2 <= count * squared + room * (count + 1))).all())


def bounded(groups: Sequence[Figures], columns: int) -> tuple[tuple[int, ...], int]:
    """Return each column's power of two and the largest weight, in rows: the median of what the groups say.

    Args:
        groups: figures of `powers`: those of each cohort, or their sum alone.
        columns: that were counted, targets too.
    """
    powers = np.array([_powers(np.array(one["powers"]).reshape(columns, POWERS)) for one in groups], np.int64)
    bits = [_bits(np.array(one["rows"])) for one in groups]
    middle = [statistics.median_high(column) for column in powers.T.tolist()]
    return tuple(middle), 1 << statistics.median_high(bits)


def _powers(histogram: Floats) -> list[int]:
    powers = []
    for row in histogram:
        nonzero = row[1:]
        covered = np.cumsum(nonzero) >= COVERED * nonzero.sum()
        powers.append(BOUNDS[int(covered.argmax())] if nonzero.sum() else 0)
    return powers


def _bits(rows: Floats) -> int:
    present = np.flatnonzero(rows[: ROW_POWERS - 1])
    return int(present.max()) if present.size else 0


def moments(groups: Sequence[Figures]) -> Moments:
    """Return the median over the groups of each column's mean, and of the mean squared distance from that.

    Args:
        groups: figures of `moments`: those of each cohort, or their sum alone.
    """
    counts = np.array([max(1.0, one["count"][0]) for one in groups])[:, None]
    positive, negative, squared = (
        np.array([one[name] for one in groups]) / counts for name in ("positive", "negative", "squared")
    )
    means = positive - negative
    mean = np.median(means, axis=0)
    variance = np.median(np.maximum(squared - 2 * mean * means + mean**2, 0), axis=0)
    return Moments(mean=mean, variance=variance)
