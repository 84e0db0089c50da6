"""How good predictions are, from a model's raw outputs or from histograms of its scores; None where undefined."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from accord.errors import UsageError
from simulation.task import Kind

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model reached on test rows; a metric that is undefined for these rows or this task is None.

    Args:
        rows: number of test rows.
        loss: mean loss per row: cross-entropy in nats, or squared error.
        accuracy: share of rows whose label was predicted.
        auroc: area under the ROC curve; of several classes the mean of one against the rest.
        auprc: average precision; of several classes the mean of one against the rest.
        mae: mean absolute error, in the units of the target.
        r2: coefficient of determination.

    Raises:
        UsageError: a number is not finite, or a share is not from 0 to 1.
    """

    rows: int
    loss: float | None = None
    accuracy: float | None = None
    auroc: float | None = None
    auprc: float | None = None
    mae: float | None = None
    r2: float | None = None

    def __post_init__(self) -> None:
        if self.rows < 0:
            raise UsageError(f"{self.rows} rows can't have been evaluated")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value is not None and not math.isfinite(value):
                raise UsageError(f"{field.name} is {value}: say None where a metric is undefined")
        for value in (self.accuracy, self.auroc, self.auprc):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{value} is no share from 0 to 1")

    def to_json(self) -> dict[str, float | None]:
        """Return the metrics without the number of rows, null where undefined."""
        values = asdict(self)
        del values["rows"]
        return values


def evaluate(kind: Kind, y: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> Evaluation:
    """Return every metric that the task defines.

    Args:
        kind: the task.
        y: (N,) class indices (0 or 1 if binary), or numbers.
        outputs: (N, K) or (N,) raw outputs: logits, or predicted numbers in the units of `y`.

    Raises:
        UsageError: shapes do not go with each other.
    """
    rows = len(y)
    scores: tuple[float | None, float | None]
    loss_value = loss(kind, y, outputs)
    if kind == "regression":
        flat = _column(y, outputs)
        return Evaluation(rows=rows, loss=loss_value, mae=mae(y, flat), r2=r2(y, flat))
    if kind == "binary":
        flat = _column(y, outputs)
        scores, hits = (auroc(y, flat), auprc(y, flat)), accuracy(y, flat)
    else:
        scores, hits = (None, None), accuracy(y, outputs)
        if hits is not None:
            probabilities = softmax(_logits(y, outputs))
            scores = macro(auroc, y, probabilities), macro(auprc, y, probabilities)
    return Evaluation(rows=rows, loss=loss_value, accuracy=hits, auroc=scores[0], auprc=scores[1])


def accuracy(y: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> float | None:
    """Return the share of right labels; of one logit per row, those above 0 say label 1.

    Args:
        y: (N,) class indices.
        outputs: (N, K) logits; (N,) or (N, 1) for a binary task.
    """
    if not len(y) or not np.isfinite(outputs).all():
        return None
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        return float(np.mean((_column(y, outputs) > 0) == (y == 1)))
    return float(np.mean(np.argmax(_logits(y, outputs), axis=1) == y))


def loss(kind: Kind, y: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> float | None:
    """Return the mean loss: softmax cross-entropy, binary cross-entropy with logits, or squared error."""
    if not len(y) or not np.isfinite(outputs).all():
        return None
    if kind == "classification":
        logits = _logits(y, outputs)
        return _finite(np.mean(_log_sum_exp(logits) - logits[np.arange(len(y)), y]))
    flat = _column(y, outputs)
    if kind == "binary":
        return _finite(np.mean(np.logaddexp(0, flat) - flat * y))
    with np.errstate(over="ignore"):
        return _finite(np.mean((flat - y) ** 2))


def auroc(y: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float | None:
    """Return the chance that a positive row scores above a negative one, ties counting half; None without both.

    Args:
        y: (N,) true or 1 for positive rows.
        scores: (N,) the higher, the more positive.
    """
    return auroc_of_histograms(*_by_score(y, scores))


def auprc(y: npt.NDArray[Any], scores: npt.NDArray[Any]) -> float | None:
    """Return the average precision: precision at each score, weighted by the recall gained there; None without both.

    Args:
        y: (N,) true or 1 for positive rows.
        scores: (N,) the higher, the more positive.
    """
    above, below = (counts[::-1] for counts in _by_score(y, scores))
    if not above.sum() or not below.sum():
        return None
    return min(1.0, float(above @ (np.cumsum(above) / np.cumsum(above + below)) / above.sum()))


def auroc_of_histograms(positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> float | None:
    """Return AUROC from how many positive and negative rows lie in each score bin; rows of one bin are ties.

    The evaluation tail's bins are those of `accord.update.tail.score_bins`.

    Args:
        positives: (B,) counts, lowest score first; a negative count, which noise can make, is taken for 0.
        negatives: (B,) the same for negative rows.
    """
    above, below = _counts(positives, negatives)
    if not above.sum() or not below.sum():
        return None
    under = np.cumsum(below) - below / 2
    return min(1.0, float(above @ under / (above.sum() * below.sum())))


def auprc_of_histograms(positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> float | None:
    """Return the average precision from how many positive and negative rows lie in each score bin.

    Rows are taken to be spread evenly over their bin (Davis and Goadrich 2006, section 4). To count them as ties would
    be too low by ten times as much as this is off.

    Args:
        positives: (B,) counts, lowest score first; a negative count, which noise can make, is taken for 0.
        negatives: (B,) the same for negative rows.
    """
    above, below = (counts[::-1] for counts in _counts(positives, negatives))
    if not above.sum() or not below.sum():
        return None
    hits, taken, held = np.cumsum(above) - above, np.cumsum(above + below) - above - below, above > 0
    above, both, hits, taken = above[held], (above + below)[held], hits[held], taken[held]
    # The integral of (hits + t above) / (taken + t both) over t from 0 to 1, with its limit where nothing is above.
    share = above / both
    safe = np.where(taken > 0, taken, 1)
    mean = share + np.where(taken > 0, (hits - share * taken) / both * np.log1p(both / safe), 0)
    return float(np.clip(above @ mean / above.sum(), 0, 1))


def macro(metric: Any, y: npt.NDArray[Any], probabilities: Reals) -> float | None:
    """Return the mean of a binary metric over classes, each against the rest; None if it is for one of them.

    Args:
        metric: `auroc` or `auprc`.
        y: (N,) class indices.
        probabilities: (N, K).
    """
    values = [metric(y == label, probabilities[:, label]) for label in range(probabilities.shape[1])]
    return None if None in values else float(np.mean(values))


def mae(y: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> float | None:
    """Return the mean absolute error of (N,) predictions."""
    if not len(y) or not np.isfinite(predicted).all():
        return None
    return _finite(np.mean(np.abs(y - predicted.astype(np.float64))))


def r2(y: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> float | None:
    """Return the coefficient of determination; None for fewer than two rows, or targets that are all equal."""
    if not np.isfinite(predicted).all():
        return None
    wide = y.astype(np.float64)
    if len(y) < 2 or not np.ptp(wide):
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(1 - np.sum((wide - predicted) ** 2) / np.sum((wide - wide.mean()) ** 2))


def r2_of_sums(rows: float, squared_error: float, sum_y: float, sum_y2: float) -> float | None:
    """Return R² from the sums of an evaluation tail: rows, Σ(y - p)², Σy, Σy²; None where y has no spread."""
    if rows < 2:
        return None
    spread = sum_y2 - sum_y * sum_y / rows
    return _finite(1 - squared_error / spread) if spread > 0 else None


def softmax(logits: Reals) -> Reals:
    """Return the probabilities (N, K) of logits (N, K)."""
    powers: Reals = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _log_sum_exp(logits: Reals) -> Reals:
    """Return (N,) without overflow."""
    top: Reals = logits.max(axis=1)
    top += np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return top


def _logits(y: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> Reals:
    """Return outputs as (N, K) float64, or refuse them."""
    if outputs.ndim != 2 or len(outputs) != len(y):
        raise UsageError(f"outputs of shape {outputs.shape} can't be held against {len(y)} labels")
    return outputs.astype(np.float64)


def _column(y: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> Reals:
    """Return outputs as (N,) float64, or refuse them."""
    if outputs.shape not in ((len(y),), (len(y), 1)):
        raise UsageError(f"outputs of shape {outputs.shape} can't be held against {len(y)} targets: one per row")
    return outputs.astype(np.float64).reshape(-1)


def _by_score(y: npt.NDArray[Any], scores: npt.NDArray[Any]) -> tuple[Reals, Reals]:
    """Return counts of positive and negative rows at each distinct score, ascending; empty if a score is no number."""
    if scores.shape != y.shape:
        raise UsageError(f"scores of shape {scores.shape} can't be held against {len(y)} labels")
    if not np.isfinite(scores).all():
        return np.empty(0), np.empty(0)
    distinct, places = np.unique(scores, return_inverse=True)
    positive = y.astype(np.bool_)
    size = len(distinct)
    above, below = np.bincount(places[positive], minlength=size), np.bincount(places[~positive], minlength=size)
    return above.astype(np.float64), below.astype(np.float64)


def _counts(positives: npt.NDArray[Any], negatives: npt.NDArray[Any]) -> tuple[Reals, Reals]:
    """Return both histograms as float64 without negative counts."""
    if positives.ndim != 1 or positives.shape != negatives.shape:
        raise UsageError(f"histograms of shapes {positives.shape} and {negatives.shape} don't have the same bins")
    return np.maximum(positives.astype(np.float64), 0), np.maximum(negatives.astype(np.float64), 0)


def _finite(value: Any) -> float | None:
    """Return a float, or None for what is no number."""
    return float(value) if np.isfinite(value) else None
