"""Metrics agree with scikit-learn wherever it defines them, and are None where nothing does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from accord.errors import UsageError
from accord.update.tail import HISTOGRAM_BINS, score_bins
from simulation import metrics
from simulation.metrics import Evaluation, evaluate


def labelled(seed: int, rows: int, classes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=rows)])
    logits = rng.normal(size=(rows + classes, classes)) * 3 + 2 * np.eye(classes)[y]
    return y, logits


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 300), classes=st.integers(3, 8))
def test_classes_against_scikit_learn(seed: int, rows: int, classes: int) -> None:
    y, logits = labelled(seed, rows, classes)
    logits = np.round(logits)  # many ties
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    got = evaluate("classification", y, logits.astype(np.float32))
    labels = list(range(classes))
    assert got.rows == len(y)
    assert got.accuracy == pytest.approx(oracle.accuracy_score(y, logits.argmax(axis=1)))
    assert got.loss == pytest.approx(oracle.log_loss(y, p, labels=labels), rel=1e-6)
    scores = metrics.softmax(logits)
    assert scores == pytest.approx(p)
    assert got.auroc == pytest.approx(np.mean([oracle.roc_auc_score(y == k, scores[:, k]) for k in labels]))
    assert got.auprc == pytest.approx(oracle.average_precision_score(np.eye(classes)[y], scores))
    assert (got.mae, got.r2) == (None, None)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 300), steps=st.sampled_from([1, 2, 10, 10**6]))
def test_two_classes_with_ties_against_scikit_learn(seed: int, rows: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1], rng.integers(2, size=rows)])
    logit = np.round((rng.normal(size=len(y)) + y) * steps) / steps
    got = evaluate("binary", y, logit[:, None])
    assert got.auroc == pytest.approx(oracle.roc_auc_score(y, logit))
    assert got.auprc == pytest.approx(oracle.average_precision_score(y, logit))
    assert got.loss == pytest.approx(oracle.log_loss(y, 1 / (1 + np.exp(-logit))))
    assert got.accuracy == pytest.approx(oracle.accuracy_score(y, logit > 0))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 300))
def test_numbers_against_scikit_learn(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=rows) * 50 + 1000
    p = y + rng.normal(size=rows) * 20
    got = evaluate("regression", y, p[:, None])
    assert got.mae == pytest.approx(oracle.mean_absolute_error(y, p))
    assert got.loss == pytest.approx(oracle.mean_squared_error(y, p))
    assert got.r2 == pytest.approx(oracle.r2_score(y, p))
    assert metrics.r2_of_sums(rows, float(np.sum((y - p) ** 2)), y.sum(), float(y @ y)) == pytest.approx(
        got.r2, rel=1e-4
    )
    assert got.accuracy is None


@pytest.mark.parametrize(("scale", "distance", "share"), [(1, 1, 0.5), (0.2, 0.2, 0.5), (4, 8, 0.5), (8, 20, 0.3)])
def test_histograms_come_close_to_the_scores_they_were_made_of(scale: float, distance: float, share: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.random(3000) < share
    logits = rng.normal(size=3000) * scale + distance * (y - 0.5)
    bins = score_bins(logits)
    positives, negatives = (
        np.bincount(bins[y], minlength=HISTOGRAM_BINS),
        np.bincount(bins[~y], minlength=HISTOGRAM_BINS),
    )
    assert metrics.auroc_of_histograms(positives, negatives) == pytest.approx(oracle.roc_auc_score(y, bins))
    assert metrics.auroc_of_histograms(positives, negatives) == pytest.approx(
        oracle.roc_auc_score(y, logits), abs=0.005
    )
    assert metrics.auprc_of_histograms(positives, negatives) == pytest.approx(
        oracle.average_precision_score(y, logits), abs=0.006
    )


def test_average_precision_of_bins_is_the_integral_within_them() -> None:
    positives, negatives = np.array([3, 0, 2, 0, 5, 0]), np.array([4, 7, 0, 3, 2, 1])
    fine = 20_000  # each bin cut so finely that ties no longer matter
    counts = [np.repeat(c, fine) / fine for c in (positives, negatives)]
    hits, taken = np.cumsum(counts[0][::-1]), np.cumsum((counts[0] + counts[1])[::-1])
    exact = float(np.sum(counts[0][::-1] * hits / taken) / 10)
    assert metrics.auprc_of_histograms(positives, negatives) == pytest.approx(exact, abs=0.02)
    assert metrics.auprc_of_histograms(np.array([0, 5]), np.array([5, 0])) == 1.0
    assert metrics.auprc_of_histograms(np.array([5, 0]), np.array([0, 5])) == pytest.approx(
        np.mean([(t + 0.5) / 5 / ((t + 0.5) / 5 + 1) for t in range(5)]), abs=0.01
    )


def test_noise_may_make_a_count_negative_or_fractional() -> None:
    assert metrics.auroc_of_histograms(np.array([-2.0, 3.5]), np.array([4.2, -0.1])) == 1.0
    assert metrics.auprc_of_histograms(np.array([0, 1]), np.array([5, 0])) == 1.0
    assert metrics.auroc_of_histograms(np.zeros(64), np.ones(64)) is None
    with pytest.raises(UsageError, match="same bins"):
        metrics.auroc_of_histograms(np.ones(64), np.ones(63))


def test_what_is_undefined_is_none() -> None:
    none = np.empty(0)
    assert evaluate("classification", none.astype(int), np.empty((0, 3))) == Evaluation(rows=0)
    assert evaluate("binary", none, none) == Evaluation(rows=0)
    assert evaluate("regression", none, none) == Evaluation(rows=0)
    one_class = evaluate("binary", np.ones(4), np.arange(4))
    assert (one_class.auroc, one_class.auprc, one_class.accuracy) == (None, None, 0.75)
    absent = evaluate("classification", np.array([0, 1]), np.eye(3)[:2])
    assert (absent.auroc, absent.auprc, absent.accuracy) == (None, None, 1.0)
    assert evaluate("regression", np.array([5.0]), np.array([6.0])) == Evaluation(rows=1, loss=1.0, mae=1.0)
    assert evaluate("regression", np.full(3, 5.0), np.arange(3.0)).r2 is None
    assert metrics.r2_of_sums(1, 0, 5, 25) is None
    assert metrics.r2_of_sums(2, 0, 10, 50) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_diverged_has_no_metrics(bad: float) -> None:
    y = np.array([0, 1, 1])
    assert evaluate("binary", y, np.array([0, bad, 1])) == Evaluation(rows=3)
    assert evaluate("regression", y, np.array([0, bad, 1])) == Evaluation(rows=3)
    assert evaluate("classification", y, np.array([[0, 1], [bad, 1], [0, 1]])).accuracy is None


def test_extreme_logits_neither_overflow_nor_warn() -> None:
    huge = np.array([[1e30, -1e30], [-1e30, 1e30]], np.float32)
    assert evaluate("classification", np.array([0, 1]), huge).loss == 0
    assert evaluate("binary", np.array([0, 1]), huge[:, 0]).loss == pytest.approx(1e30, rel=1e-5)
    assert evaluate("regression", np.array([0.0, 1.0]), np.array([1e300, 0])).loss is None


def test_shapes_are_checked() -> None:
    with pytest.raises(UsageError, match="one per row"):
        evaluate("binary", np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(UsageError, match="against 3 labels"):
        evaluate("classification", np.zeros(3, int), np.zeros((2, 2)))
    with pytest.raises(UsageError, match="against 3 labels"):
        metrics.auroc(np.zeros(3), np.zeros(2))


def test_an_evaluation_is_valid_at_birth() -> None:
    with pytest.raises(UsageError, match="loss is nan"):
        Evaluation(rows=1, loss=float("nan"))
    with pytest.raises(UsageError, match="no share"):
        Evaluation(rows=1, auroc=1.01)
    with pytest.raises(UsageError, match="-1 rows"):
        Evaluation(rows=-1)
    assert set(Evaluation(rows=3).to_json()) == {"accuracy", "auroc", "auprc", "mae", "r2", "loss"}
